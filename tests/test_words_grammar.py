"""What texts mean: a table of phrases, and of what is refused."""

from pathlib import Path

import pytest

from vidmem.detect.words.everyday import EVERYDAY
from vidmem.detect.words.grammar import read
from vidmem.detect.words.vocabulary import forms, load_vocabulary, parse
from vidmem.errors import ModelError

NAMES = Path(__file__).resolve().parents[1] / "models/words/imagenet.txt"
WORDS = load_vocabulary(NAMES)

# text: noun, and what differs from a phrase for one thing without more
PHRASES = {
    "dog": ("dog", {}),
    "a dog": ("dog", {}),
    "The  DOG!": ("dog", {}),
    "my puppy": ("puppy", {}),
    "dogs": ("dog", {"limit": None}),
    "all dogs": ("dog", {"limit": None}),
    "every bird": ("bird", {"limit": None}),
    "two dogs": ("dog", {"limit": 2}),
    "3 cups": ("cup", {"limit": 3}),
    "both horses": ("horse", {"limit": 2}),
    "geese": ("goose", {"limit": None}),
    "people": ("person", {"limit": None}),
    "children": ("child", {"limit": None}),
    "sheep": ("sheep", {}),
    "buses": ("bus", {"limit": None}),
    "butterflies": ("butterfly", {"limit": None}),
    "glasses": ("glasses", {}),
    "black swan": ("black swan", {}),
    "black dog": ("dog", {"colours": ["black"]}),
    "dark brown dog": ("dog", {"colours": ["black", "brown"]}),
    "polar bear": ("polar bear", {}),
    "golden retriever": ("golden retriever", {}),
    "gray cat": ("cat", {"colours": ["grey"]}),
    "orange": ("orange", {}),
    "an orange": ("orange", {}),
    "orange cat": ("cat", {"colours": ["orange"]}),
    "red and white boat": ("boat", {"colours": ["red", "white"]}),
    "car that is red": ("car", {"colours": ["red"]}),
    "car, not red": ("car", {"not_colours": ["red"]}),
    "the red one": (None, {"colours": ["red"]}),
    "the red ones": (None, {"colours": ["red"], "limit": None}),
    "the moving thing": (None, {"motion": "moving"}),
    "big dog": ("dog", {"size": "big"}),
    "the biggest car": ("car", {"size": "biggest"}),
    "smallest of dogs": ("dog", {"size": "smallest"}),
    "left dog": ("dog", {"places": ["left"]}),
    "the dog on the left": ("dog", {"places": ["left"]}),
    "dog to the right": ("dog", {"places": ["right"]}),
    "dog at the top of the frame": ("dog", {"places": ["top"]}),
    "dog on the left side": ("dog", {"places": ["left"]}),
    "cup in the top left corner": ("cup", {"places": ["top", "left"]}),
    "man in the middle": ("man", {"places": ["middle"]}),
    "car in the background": ("car", {"places": ["back"]}),
    "car in the foreground": ("car", {"places": ["front"]}),
    "second dog": ("dog", {"ordinal": 2}),
    "second dog from the right": ("dog", {"ordinal": -2}),
    "the last cup": ("cup", {"ordinal": -1}),
    "running dog": ("dog", {"motion": "moving"}),
    "dog that is running": ("dog", {"motion": "moving"}),
    "parked car": ("car", {"motion": "still"}),
    "car, not moving": ("car", {"motion": "still"}),
    "dancing man": ("man", {"motion": "moving"}),
    "cyclist": ("cyclist", {}),
    "mountain bike": ("mountain bike", {}),
    "race car": ("race car", {}),
    "terrier": ("terrier", {}),
    "school bus": ("school bus", {}),
    "t shirt": ("t shirt", {}),
    "sailing-boat": ("sailing boat", {}),
    "small black dog on the left": ("dog", {"size": "small", "colours": ["black"], "places": ["left"]}),
}
PLAIN = {
    "colours": [],
    "not_colours": [],
    "size": None,
    "places": [],
    "motion": None,
    "ordinal": None,
    "relation": None,
    "limit": 1,
}


@pytest.mark.parametrize("text", PHRASES)
def test_a_phrase_means_what_it_says(text):
    noun, more = PHRASES[text]
    phrase = read(text, WORDS)
    assert phrase.unknown == [] and phrase.problem is None
    assert (phrase.noun.text if phrase.noun else None) == noun
    assert {name: getattr(phrase, name) for name in PLAIN} == PLAIN | more


def test_every_everyday_noun_has_one_row_and_means_all_of_it():
    lines = [(noun.replace("-", " "), spec) for line, spec in EVERYDAY.items() for noun in line.split()]
    assert len({noun for noun, _ in lines}) == len(lines)
    for noun, spec in lines:
        assert WORDS.nouns[noun].classes == parse(spec), noun


@pytest.mark.parametrize(
    "text, noun, kind, other",
    [
        ("man on a bicycle", "man", "above", "bicycle"),
        ("dog next to the chair", "dog", "near", "chair"),
        ("the cup left of the bottle", "cup", "left", "bottle"),
        ("cup to the right of the red bottle", "cup", "right", "bottle"),
        ("cat under the table", "cat", "below", "table"),
        ("dog with a ball", "dog", "near", "ball"),
    ],
)
def test_relations_name_another_thing(text, noun, kind, other):
    phrase = read(text, WORDS)
    assert phrase.problem is None and phrase.unknown == []
    assert (phrase.noun.text, phrase.relation[0], phrase.relation[1].noun.text) == (noun, kind, other)


@pytest.mark.parametrize(
    "text, unknown",
    [("forceps", ["forceps"]), ("the shiny dog", ["shiny"]), ("dog eating xyzzy", ["eating", "xyzzy"]), ("犬", ["犬"])],
)
def test_words_that_are_not_known_are_named_and_none_is_passed_over(text, unknown):
    assert read(text, WORDS).unknown == unknown


@pytest.mark.parametrize(
    "text, says",
    [
        ("dog and cat", "are two things"),
        ("dog or cat", "'or' is not understood"),
        ("guitar dog", "cannot join 'guitar' and 'dog'"),
        ("the", "names no thing"),
        ("dog without a tail", "before a colour or a motion only"),
    ],
)
def test_known_words_that_are_no_phrase_say_why(text, says):
    assert says in read(text, WORDS).problem


def test_every_word_of_a_text_has_its_role():
    phrase = read("the small black dog on the left", WORDS)
    assert phrase.words == [
        ("the", "small word"), ("small", "size"), ("black", "colour"), ("dog", "noun"), ("on the left", "place"),
    ]  # fmt: skip


def test_everyday_words_are_sets_of_classes_that_exist():
    assert parse("3 7-9") == {3, 7, 8, 9}
    for word, noun in WORDS.nouns.items():
        assert noun.person or (noun.classes and max(noun.classes) < 1000), word
    assert WORDS.nouns["dog"].classes >= set(range(151, 269)) and "golden retriever" in WORDS.nouns


def test_near_words_are_offered():
    assert "bicycle" in WORDS.near("bycicle") and WORDS.near("forcepsforceps") == []


def test_plurals_are_told_from_nouns_that_end_like_them():
    assert (
        forms("glass") == [("glass", False)] and ("bus", True) in forms("buses") and ("pony", True) in forms("ponies")
    )


def test_a_list_of_names_that_is_not_whole_is_refused(tmp_path):
    (tmp_path / "imagenet.txt").write_text("tench\n")
    with pytest.raises(ModelError, match="has 1 lines; expected the 1,000 names"):
        load_vocabulary(tmp_path / "imagenet.txt")
    with pytest.raises(ModelError, match="cannot be read"):
        load_vocabulary(tmp_path / "none.txt")
