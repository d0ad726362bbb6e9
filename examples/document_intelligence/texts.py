"""Openings of books in the public domain, to write documents with."""

BOOKS = [
    (
        "Down the Rabbit-Hole",
        "Lewis Carroll",
        "Alice was beginning to get very tired of sitting by her sister on the bank, and of having nothing to do: once or twice "
        "she had peeped into the book her sister was reading, but it had no pictures or conversations in it, and what is the use "
        "of a book, thought Alice, without pictures or conversations? So she was considering in her own mind, as well as she "
        "could, for the hot day made her feel very sleepy and stupid, whether the pleasure of making a daisy-chain would be worth "
        "the trouble of getting up and picking the daisies, when suddenly a White Rabbit with pink eyes ran close by her.",
    ),
    (
        "Loomings",
        "Herman Melville",
        "Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, and nothing "
        "particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is a "
        "way I have of driving off the spleen and regulating the circulation. Whenever I find myself growing grim about the mouth; "
        "whenever it is a damp, drizzly November in my soul; then, I account it high time to get to sea as soon as I can.",
    ),
    (
        "A Truth Universally Acknowledged",
        "Jane Austen",
        "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife. "
        "However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth is so "
        "well fixed in the minds of the surrounding families, that he is considered the rightful property of some one or other of "
        "their daughters. My dear Mr. Bennet, said his lady to him one day, have you heard that Netherfield Park is let at last?",
    ),
    (
        "Letter to Mrs. Saville",
        "Mary Shelley",
        "You will rejoice to hear that no disaster has accompanied the commencement of an enterprise which you have regarded with "
        "such evil forebodings. I arrived here yesterday, and my first task is to assure my dear sister of my welfare and "
        "increasing confidence in the success of my undertaking. I am already far north of London, and as I walk in the streets "
        "of Petersburgh, I feel a cold northern breeze play upon my cheeks, which braces my nerves and fills me with delight.",
    ),
    (
        "The Period",
        "Charles Dickens",
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the "
        "epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of Darkness, it was the "
        "spring of hope, it was the winter of despair, we had everything before us, we had nothing before us, we were all going "
        "direct to Heaven, we were all going direct the other way.",
    ),
]
