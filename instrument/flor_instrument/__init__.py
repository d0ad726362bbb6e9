
from flor_instrument.carried import Carried, carried
from flor_instrument.clocks import volatile_names
from flor_instrument.hindsight import Patch, Unit, hindsight
from flor_instrument.places import Place, Where, where
from flor_instrument.propagation import Placement, Propagation, Refusal, propagate, remove
from flor_instrument.source import SourceError
