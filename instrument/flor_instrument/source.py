"""A source file as propagation sees it: bytes in, a tree of statements, blocks and scopes out.

The standard `ast` does the parsing (it reads bytes, so byte-order marks, coding cookies, CRLF and form feeds need no
care here) and this module adds what alignment needs: the tokens of every statement without its layout, the block it
stands in, and the scope whose statements are aligned together.
"""

from __future__ import annotations

import ast
import gc
import re
import tokenize
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, wraps
from io import BytesIO
from typing import TypeVar

from .tokens import Face, face_of, plain, tokens_of

_STATEMENT_LIMIT = 60_000
_BYTES_LIMIT = 8_000_000

LOOPS = (ast.For, ast.AsyncFor, ast.While)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)


About = TypeVar("About")
Said = TypeVar("Said")


def kept(function: Callable[[About], Said]) -> Callable[[About], Said]:
    """What the function says about a source, a scope or a statement is kept on that, and goes when it goes."""
    name = f"_{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def asked(about: About) -> Said:
        known: dict[str, Said] = about.__dict__
        if name not in known:
            known[name] = function(about)
        return known[name]

    return asked


class SourceError(Exception):
    """A source that cannot be parsed. The message is one sentence; `line` is 1-based where it is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line

    @property
    def located(self) -> str:
        """What stands behind the file's name in a message: its line, where that is known, and the sentence."""
        return f" line {self.line}: {self}" if self.line else f": {self}"


@dataclass(eq=False, slots=True)
class Block:
    """A suite: the body of the module or of a compound statement, its else branch, one of its handlers."""

    owner: Stmt | None
    role: str
    scope: Scope
    header: tuple[str, ...] = ()
    statements: list[Stmt] = field(default_factory=list)
    is_elif: bool = False


@dataclass(eq=False)
class Stmt:
    """One statement. What its tokens say is worked out when it is asked for: most statements are never looked at."""

    source: Source = field(repr=False)
    node: ast.stmt
    block: Block
    index: int
    line: int
    end_line: int
    col: int
    end_col: int
    head_line: int  # where the header of a compound statement ends; of any other the statement's own end
    head_col: int
    is_loop: bool
    order: int = -1
    blocks: list[Block] = field(default_factory=list)
    scope: Scope | None = None

    @property
    def kind(self) -> str:
        return type(self.node).__name__

    @cached_property
    def head(self) -> tuple[str, ...]:
        """The statement's tokens; of a compound statement those of its header only."""
        return tokens_of(self.source.text_between(self.line, self.col, self.head_line, self.head_col))

    @cached_property
    def key(self) -> str:
        """Equal for statements that are equal but for layout (of compound ones: whose headers are)."""
        return "\x1f".join(self.head)

    @cached_property
    def face(self) -> Face:
        return face_of(plain(self.head))

    @cached_property
    def family(self) -> str:
        """Only statements of one family are taken for the same."""
        node = self.node
        if isinstance(node, LOOPS):
            return "loop"
        if isinstance(node, DEFINITIONS):
            return "class" if isinstance(node, ast.ClassDef) else "function"
        if isinstance(node, ast.With | ast.AsyncWith):
            return "with"
        if isinstance(node, ast.Import | ast.ImportFrom):
            return "import"
        if self.blocks or isinstance(node, ast.Raise | ast.Break | ast.Continue | ast.Pass | ast.Delete):
            return self.kind
        return "simple"

    @cached_property
    def full_key(self) -> str:
        """Equal for statements that are equal with all that they contain."""
        if not self.blocks:
            return self.key
        for nested in reversed([one for one in self.walk() if one.blocks and one is not self]):
            _ = nested.full_key  # the innermost first: a long chain of `elif` needs no recursion then
        inner = (
            f"{block.role}:{' '.join(block.header)}{{" + "\x1e".join(s.full_key for s in block.statements) + "}"
            for block in self.blocks
        )
        return self.key + "\x1d" + "\x1d".join(inner)

    @cached_property
    def loop(self) -> Stmt | None:
        """The innermost loop of the same scope whose body this stands in."""
        return innermost_loop(self.block)

    def same_text(self, other: Stmt) -> bool:
        """Whether both have the very same lines, at the same indentation."""
        if (self.end_line - self.line, self.col, self.end_col) != (
            other.end_line - other.line,
            other.col,
            other.end_col,
        ):
            return False
        ours, theirs = self.source.lines, other.source.lines
        return ours[self.line - 1 : self.end_line] == theirs[other.line - 1 : other.end_line]

    def inside(self, other: Stmt) -> bool:
        owner = self.block.owner
        while owner is not None:
            if owner is other:
                return True
            owner = owner.block.owner
        return False

    def walk(self) -> Iterator[Stmt]:
        """The statement and all that it contains, in the order of the text."""
        todo = [self]
        while todo:
            statement = todo.pop()
            yield statement
            for block in reversed(statement.blocks):
                todo += reversed(block.statements)


def is_docstring(statement: Stmt) -> bool:
    """Whether the statement is a bare string."""
    node = statement.node
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def innermost_loop(block: Block) -> Stmt | None:
    """The loop whose iterations run `block`, within its function; a loop's `else` is outside of it."""
    while block.owner is not None:
        owner = block.owner
        if isinstance(owner.node, DEFINITIONS):
            return None
        if owner.is_loop and block.role == "body":
            return owner
        block = owner.block
    return None


@dataclass(eq=False)
class Scope:
    """The module, a function or a class body, with its statements in order, those of nested blocks among them."""

    qualname: str
    kind: str
    owner: Stmt | None
    parent: Scope | None
    flat: list[Stmt] = field(default_factory=list)
    body: Block | None = None

    @property
    def name(self) -> str:
        return self.qualname.rpartition(".")[2]

    def chain(self) -> Iterator[Scope]:
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent


class Source:
    """A parsed file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if len(data) > _BYTES_LIMIT:
            raise SourceError("The file is too large to be analysed.")
        self.tree = _parse(data)
        self.encoding = _encoding(data)
        self.raw_lines = data.splitlines(keepends=True)
        bom = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        self.bom = bom
        try:
            encoding = self.encoding_for_text
            self.lines = [line.decode(encoding) for line in self.raw_lines]
        except (UnicodeDecodeError, LookupError) as error:
            raise SourceError(f"The file cannot be decoded as {self.encoding}.") from error
        last = max((node.end_lineno or 0 for node in self.tree.body[-1:]), default=0)
        if last > len(self.lines) or (encoding != "utf-8" and not self._line_by_line(encoding)):
            raise SourceError(f"The file is written in {self.encoding}, which cannot be edited line by line.")
        if bom and self.lines:
            self.lines[0] = self.lines[0].removeprefix("\ufeff")
        self.scopes: list[Scope] = []
        self.count = 0
        module = Scope("", "module", None, None)
        self.module = module
        self.scopes.append(module)
        module.body = Block(None, "body", module)
        try:
            self._fill(module.body, self.tree.body)
        except RecursionError as error:
            raise SourceError("The file is nested too deeply to be analysed.") from error

    def _line_by_line(self, encoding: str) -> bool:
        """Whether each line of the bytes is one line of text and comes out of it again: `unicode_escape` makes lines
        of its own, so that nothing stands where the parser says."""
        try:
            return all(
                len(line.splitlines()) == len(raw.splitlines()) and line.encode(encoding) == raw
                if not line.isascii() or line.encode() != raw
                else True
                for line, raw in zip(self.lines, self.raw_lines, strict=True)
            )
        except UnicodeEncodeError:
            return False

    @cached_property
    def newline(self) -> str:
        for line in self.raw_lines:
            for end in ("\r\n", "\n", "\r"):
                if line.endswith(end.encode()):
                    return end
        return "\n"

    @property
    def encoding_for_text(self) -> str:
        """The encoding for text inside the file: a byte-order mark belongs to its start only."""
        return "utf-8" if self.encoding == "utf-8-sig" else self.encoding

    @cached_property
    def line_offsets(self) -> list[int]:
        """The byte at which each line begins; one more for the end."""
        offsets = [0]
        for line in self.raw_lines:
            offsets.append(offsets[-1] + len(line))
        return offsets

    @cached_property
    def by_name(self) -> dict[str, Scope]:
        return {scope.qualname: scope for scope in reversed(self.scopes)}

    @cached_property
    def words(self) -> frozenset[str]:
        """Every identifier of the file and every word in its strings (`--batch-size` counts as `batch_size`)."""
        text = "".join(self.lines).replace("-", "_")
        return frozenset(word.strip("_") for word in re.findall(r"\w+", text)) | frozenset(re.findall(r"\w+", text))

    def statements(self) -> Iterator[Stmt]:
        for scope in self.scopes:
            yield from scope.flat

    def char(self, line: int, utf8_col: int) -> int:
        """The character column of a column that `ast` gave in UTF-8 bytes."""
        text = self.lines[line - 1]
        return utf8_col if text.isascii() else len(text.encode()[:utf8_col].decode(errors="ignore"))

    def text_between(self, line: int, col: int, end_line: int, end_col: int) -> str:
        if line == end_line:
            return self.lines[line - 1][col:end_col]
        middle = self.lines[line : end_line - 1]
        return "".join((self.lines[line - 1][col:], *middle, self.lines[end_line - 1][:end_col]))

    def text_of(self, statement: Stmt) -> str:
        return self.text_between(statement.line, statement.col, statement.end_line, statement.end_col)

    def _fill(self, block: Block, nodes: list[ast.stmt]) -> None:
        scope = block.scope
        for index, node in enumerate(nodes):
            self.count += 1
            if self.count > _STATEMENT_LIMIT:
                raise SourceError("The file has too many statements to be analysed.")
            line, utf8_col = node.lineno, node.col_offset
            if isinstance(node, DEFINITIONS) and node.decorator_list:
                first = min(node.decorator_list, key=lambda decorator: decorator.lineno)
                # The `@` stands before the decorator's expression, at the column of the definition.
                line = first.lineno
            col = self.char(line, utf8_col)
            end_line = node.end_lineno or node.lineno
            end_col = self.char(end_line, node.end_col_offset or 0)
            inner = _suites(node)
            head_line, head_col = end_line, end_col
            if inner:
                first_child = inner[0][2][0]
                head_line = first_child.lineno
                if isinstance(first_child, DEFINITIONS) and first_child.decorator_list:
                    head_line = min(d.lineno for d in first_child.decorator_list)
                head_col = self.char(head_line, first_child.col_offset)
                if isinstance(node, ast.Match):
                    head_line, head_col = node.cases[0].pattern.lineno, 0
            is_loop = isinstance(node, LOOPS)
            statement = Stmt(self, node, block, index, line, end_line, col, end_col, head_line, head_col, is_loop)
            statement.order = len(scope.flat)
            scope.flat.append(statement)
            block.statements.append(statement)
            if not inner:
                continue
            inner_scope = scope
            if isinstance(node, DEFINITIONS):
                qualname = f"{scope.qualname}.{node.name}" if scope.qualname else node.name
                kind = "class" if isinstance(node, ast.ClassDef) else "function"
                inner_scope = Scope(qualname, kind, statement, scope)
                statement.scope = inner_scope
                self.scopes.append(inner_scope)
            for role, header, children in inner:
                tokens = tokens_of(ast.unparse(header)) if header is not None else ()
                child_block = Block(statement, role, inner_scope, tokens)
                child = children[0]
                child_block.is_elif = (
                    role == "orelse"
                    and isinstance(node, ast.If)
                    and len(children) == 1
                    and isinstance(child, ast.If)
                    and self.lines[child.lineno - 1][self.char(child.lineno, child.col_offset) :].startswith("elif")
                )
                statement.blocks.append(child_block)
                if inner_scope is not scope and inner_scope.body is None:
                    inner_scope.body = child_block
                self._fill(child_block, children)


_SIMPLE = (ast.Expr, ast.Assign, ast.Return, ast.Import, ast.ImportFrom, ast.AugAssign, ast.AnnAssign, ast.Assert)


def _suites(node: ast.stmt) -> list[tuple[str, ast.AST | None, list[ast.stmt]]]:
    """The suites of a statement in the order of the text: role, the expression in the suite's own header, statements."""
    out: list[tuple[str, ast.AST | None, list[ast.stmt]]] = []
    if isinstance(node, _SIMPLE):
        return out
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        out.append(("body", None, body))
    for number, handler in enumerate(getattr(node, "handlers", ())):
        out.append((f"handler{number}", handler.type, handler.body))
    if isinstance(node, ast.Match):
        for number, case in enumerate(node.cases):
            out.append((f"case{number}", case.pattern, case.body))
    for role in ("orelse", "finalbody"):
        children = getattr(node, role, None)
        if children:
            out.append((role, None, children))
    return out


# Words that became keywords since: in older code `async` is an ordinary name (`x.cuda(async=True)`).
_LATER_KEYWORD = re.compile(rb"\b(a)(sync|wait)(?=\s*[=,).])(?!\s*==)")


def _parse(data: bytes) -> ast.Module:
    try:
        return _parse_as_is(data)
    except SourceError:
        # Of the same length, so that every position holds.
        older = _LATER_KEYWORD.sub(rb"A\2", data)
        if older == data:
            raise
        try:
            return _parse_as_is(older)
        except SourceError:
            pass
        raise


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Nothing of a file is garbage while it is read, and looking for some takes longer than reading it."""
    works = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if works:
            gc.enable()


def _parse_as_is(data: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(data)
    except SyntaxError as error:
        reason = (error.msg or "invalid syntax").rstrip(".")
        raise SourceError(f"The file cannot be parsed: {reason}.", error.lineno) from error
    except ValueError as error:
        raise SourceError(f"The file cannot be parsed: {error}.") from error
    except (RecursionError, MemoryError) as error:
        raise SourceError("The file is nested too deeply to be parsed.") from error


def _encoding(data: bytes) -> str:
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
    except SyntaxError as error:
        # Of the first two lines, which must be UTF-8 where they name nothing else.
        raise SourceError(f"The file cannot be decoded: {str(error).rstrip('.')}.") from error
    return encoding


class _Parsed:
    """The files that were parsed last. Bounded by size: a parsed file takes a hundred times its bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._known: dict[bytes, Source] = {}

    def __call__(self, data: bytes) -> Source:
        found = self._known.pop(data, None)
        if found is None:
            with _collector_at_rest():
                found = Source(data)
            self._size += len(data)
        self._known[data] = found  # the one last asked for comes last
        while self._size > self._limit and len(self._known) > _PARSED_AT_LEAST:
            oldest = next(iter(self._known))
            del self._known[oldest]
            self._size -= len(oldest)
        return found


_parsed = _Parsed(200_000)
_PARSED_AT_LEAST = 4  # today's file, the one it was compared with, a version, and the version patched


def parse(data: bytes) -> Source:
    """The parsed file; the same contents are parsed once while they are in use. Raises SourceError."""
    return _parsed(data)
