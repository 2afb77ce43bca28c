"""Everyday words as sets of ImageNet's classes, and the words of a phrase that are no nouns.

Numbers are indices of the 1,000 classes of ILSVRC 2012, in the order of `models/words/imagenet.txt`; which belong to a word is our
judgement. Names of the classes themselves, and their last words (`terrier`, `beetle`), need no line here.
"""

from __future__ import annotations

EVERYDAY = {
    # animals
    "dog puppy hound doggy": "151-268 273-275",
    "cat kitten kitty": "281-285",
    "bird": "7-24 80-100 127-146",
    "duck duckling mallard": "97 98 99",
    "goose": "99",
    "swan": "100",
    "chicken": "7 8",
    "rooster": "7",
    "owl": "24",
    "eagle": "22",
    "parrot": "87-90",
    "heron": "131-133",
    "stork": "127 128",
    "penguin": "145",
    "fish": "0-6 389-397",
    "shark": "2-4",
    "ray": "5 6",
    "whale": "147 148",
    "seal": "150",
    "snake": "52-68",
    "lizard gecko": "38-48",
    "crocodile alligator": "49 50",
    "turtle tortoise": "33-37",
    "frog toad": "30-32",
    "spider": "72-77",
    "insect bug": "300-326",
    "beetle": "300-307",
    "butterfly": "321-326",
    "bee wasp": "309",
    "crab": "118-121 125",
    "lobster": "122 123 124",
    "snail": "113",
    "monkey": "365-382",
    "ape": "365-369",
    "bear": "294-297",
    "panda": "388",
    "wolf": "269-275",
    "fox": "277-280",
    "rabbit bunny": "330-332",
    "squirrel": "335",
    "mouse hamster": "333 338",
    "pig boar": "341-343",
    "horse pony foal": "339",
    "cow bull cattle ox calf": "345-347",
    "sheep lamb": "348 349",
    "goat": "348-350",
    "deer antelope": "350-353",
    "camel": "354",
    "llama alpaca": "355",
    "elephant": "385 386 101",
    "hippo": "344",
    "rhino rhinoceros": "343 344 101",
    "lion": "291",
    "tiger": "292",
    "otter": "360",
    "animal": "0-397",
    "pet": "151-268 281-285 333 338",
    "dinosaur": "51",
    # on wheels, on water, in the air
    "car automobile": "407 436 468 511 609 627 656 661 717 751 817",
    "vehicle": "403-405 407 436 444 466 468 511 547 555 569 573 575 586 609 612 627 654 656 661 665 670 671 675 705 717 734 751 757 779 802 803 817 820 829 847 864 866 867 870 874",
    "taxi": "468",
    "truck lorry": "555 569 675 717 864 867",
    "van": "654 656 675 734",
    "bus coach": "654 779 874",
    "train locomotive": "466 547 565 705 820 829",
    "tram": "829 874",
    "bicycle bike cycle bmx": "444 671",
    "motorbike motorcycle scooter": "665 670",
    "tricycle": "870",
    # no fireboat: what ImageNet shows of it is its water, and so are bright clouds and trees
    "boat ship": "403 472 484 510 576 625 628 724 780 814 833 871 914",
    "sailboat sailing-boat": "484 780 871 914",
    "plane airplane aeroplane aircraft jet": "404 895 908",
    "balloon": "417",
    "parachute paraglider": "701",
    "tractor": "866",
    "tank": "847",
    "rocket": "657 744",
    "wheel": "479 694",
    "stroller pram": "428 516 791",
    # at home
    "ball": "429 430 522 574 722 768 805 852 890",
    "football": "805 768",
    "tennis": "852",
    "chair": "423 559 765 857",
    "sofa couch": "831",
    "bed": "431 520 564 831",
    "table": "532 736 846",
    "desk": "526 527",
    "lamp": "619 846 818",
    "clock": "409 530 892",
    "watch": "531 635 826",
    "cup mug": "504 968 967",
    "glass": "441 572",
    "bowl": "659 809",
    "plate": "923",
    "bottle": "440 720 737 898 899 901 907",
    "vase": "883",
    "pot pan": "505 567 738 544 909",
    "knife": "499 623",
    "spoon": "618 910",
    "hammer": "587",
    "tool": "477 499 587 596 740 784 792",
    "phone telephone cellphone smartphone mobile": "487 528 707 605 590",
    "computer": "527 620 681 664 508",
    "laptop": "620 681",
    "keyboard": "508 878",
    "screen monitor tv television": "664 782 851",
    "camera": "732 759",
    "book": "921 917",
    "box": "478 519 492",
    "bag backpack rucksack suitcase": "414 636 728 748",
    "umbrella": "879",
    "shoe boot sneaker": "502 514 630 770 774 788",
    "sock": "806",
    "hat cap": "439 452 515 518 560 715 793 808 433",
    "helmet": "518 560",
    "shirt": "610 841",
    "dress": "578 601 614 689",
    "coat jacket": "568 617 834 869",
    "trousers pants jeans": "608 842",
    "glasses sunglasses": "836 837",
    "mask": "643 796",
    "toy doll": "850 865 722",
    "teddy": "850",
    "pillow cushion": "721",
    "towel": "434 700",
    "basket": "790 588",
    "bucket": "463",
    "guitar": "402 546",
    "piano": "579 881",
    "drum": "541",
    "violin": "486 889",
    "gun": "413 763 764",
    "bench": "703",
    "door": "799",
    "window": "904 905",
    "fence": "489 716 912",
    "house building": "425 449 483 497 624 663 668 698",
    "church": "497",
    "bridge": "821 839 888",
    "sign": "919",
    "light": "818 920",
    "skateboard": "880 813",
    "ski": "795",
    "racket": "752",
    "swing": "843",
    # to eat, and what grows
    "fruit": "948-957",
    "apple": "948",
    "vegetable": "935-947",
    "pepper": "945",
    "bread": "930 931",
    "cake": "927",
    "pizza": "963",
    "burger hamburger": "933",
    "food": "924-969",
    "flower": "985 986",
    "mushroom": "947 991-997",
    "coffee": "967 504",
}  # fmt: skip

PEOPLE = [
    "person", "people", "man", "men", "woman", "women", "boy", "girl", "child", "children", "kid", "baby", "human",
    "guy", "lady", "player", "dancer", "runner", "walker", "skater", "skier", "surfer", "snowboarder",
    "skateboarder", "jumper", "climber", "swimmer", "rider", "worker", "pedestrian", "somebody", "someone", "hiker",
    "gymnast", "athlete", "juggler",
]  # fmt: skip
RIDERS = {
    "cyclist": "444 671",
    "biker": "444 665 670 671",
    "motorcyclist": "665 670",
    "horseman": "339",
    "jockey": "339",
}
"""People whose mount belongs to them."""

LIVELY = {
    "dancer", "runner", "skater", "skier", "surfer", "snowboarder", "skateboarder", "jumper", "swimmer", "rider", "cyclist", "biker",
    "motorcyclist", "juggler", "gymnast",
}  # fmt: skip
"""People whose name says that they move: of several the one that moves most is meant."""

THINGS = ["thing", "things", "one", "ones", "object", "objects", "something"]

# Middles of OpenCV's hue, 0..179.
HUES = {"red": 0, "orange": 14, "yellow": 28, "green": 60, "turquoise": 88, "blue": 110, "purple": 138, "pink": 165}
GREYS = ("black", "white", "grey", "brown")
SAME = {"gray": "grey", "silver": "grey", "violet": "purple", "golden": "yellow", "gold": "yellow", "cyan": "turquoise",
        "dark": "black", "bright": "white", "beige": "brown", "tan": "brown"}  # fmt: skip

SIZES = {"big": "big", "large": "big", "huge": "big", "tall": "big", "small": "small", "little": "small", "tiny": "small",
         "biggest": "biggest", "largest": "biggest", "bigger": "biggest", "larger": "biggest", "main": "biggest", "tallest": "biggest",
         "smallest": "smallest", "smaller": "smallest", "closest": "biggest", "nearest": "biggest", "farthest": "smallest"}  # fmt: skip
PLACES = {"left": "left", "leftmost": "left", "right": "right", "rightmost": "right", "top": "top", "upper": "top", "topmost": "top",
          "bottom": "bottom", "lower": "bottom", "middle": "middle", "centre": "middle", "center": "middle", "central": "middle",
          "foreground": "front", "front": "front", "background": "back", "back": "back"}  # fmt: skip
MOTIONS = dict.fromkeys(
    ["moving", "moves", "running", "runs", "walking", "walks", "jumping", "jumps", "flying", "flies", "dancing", "dances", "swimming",
     "swims", "driving", "drives", "riding", "rides", "fast", "going", "rolling", "skating", "turning", "spinning"], "moving",
) | dict.fromkeys(
    ["still", "standing", "stands", "sitting", "sits", "lying", "lies", "parked", "resting", "slow", "sleeping", "static", "waiting"], "still",
)  # fmt: skip
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "both": 2}
ALL = {"all", "every", "each"}
SMALL_WORDS = {
    "a", "an", "the", "this", "that", "these", "those", "my", "your", "his", "her", "its", "their", "which", "who", "is", "are", "was",
    "be", "being", "it", "of", "there", "single", "only", "very", "any",
}  # fmt: skip
AT = {"on", "in", "at", "to"}
RELATIONS = {"near": "near", "beside": "near", "by": "near", "next": "near", "with": "near", "over": "above",
             "above": "above", "under": "below", "below": "below", "on": "above", "in": "near"}  # fmt: skip
