"""Banks, searches and their numbers in words for people who do not know the papers. What they do exactly is in their docstrings."""

BANKS = {
    "recent": "Remembers your clicks and the last few frames. Plain and quick; good while the object stays in view.",
    "confident": "Remembers only frames where the mask was surely right. A good start for most videos.",
    "anchors": "Also remembers moments when a look-alike was there and was told apart. For twins, herds and teams.",
    "motion": "Remembers frames where the object was where its movement led. For fast things on steady paths.",
    "diverse": "Keeps a few old views that differ from each other. For objects that turn or change shape.",
    "pruned": "Leaves out recent frames that look alike. A little faster when little happens.",
    "sparse": "Keeps only the most telling parts of older frames. Saves memory with many objects.",
    "keyset": "Keeps random parts of the whole past. For long videos in which everything may come back.",
    "consolidated": "Moves what it saw into a long memory and merges what is alike. For long videos.",
    "reconstructive": "Picks the old views that together explain the present one. For objects with many looks.",
    "surprise": "Keeps the moments when something changed, and what came around them. For long videos with events.",
    "lagged": "Keeps what has been useful before, even after a long pause. For objects that come and go in rhythm.",
    "spaced": "Remembers the near past densely and the far past thinly. For long, slow changes.",
    "hierarchical": "Sums up the past in chapters and opens those that fit. For long videos with returning scenes.",
}

SEARCHES = {
    "greedy": "Takes the best mask on each frame. Fast, and right for most videos.",
    "motion": "Also asks where the object should be by its movement. Helps when two alike cross.",
    "tree": "Follows several answers and keeps the best in the long run. Slower; helps when the object gets hidden.",
}

NUMBERS = {
    "slots": "frames read at a time", "prompts": "your clicks it keeps", "pointers": "short notes of older frames", "absent": "remember frames without it",
    "stride": "take one frame in", "corrections": "your corrections count as clicks", "frames": "length of the video, if known", "iou": "least sureness of a mask",
    "scale_low": "weight of the least sure", "scale_high": "weight of the surest", "one_short": "leave one place free", "rule": "how frames are chosen", "sam3": "least score, rule sam3",
    "anchors": "look-alike moments it keeps", "area_low": "smallest change of size", "area_high": "largest change of size", "gap": "frames between them", "agreement": "likeness of the other answer",
    "object_logit": "least presence", "motion": "least fit to the movement", "keep": "old views it keeps", "pool": "views to choose from", "drop": "frames left out", "share": "part of a frame it keeps",
    "write": "part of a frame it takes in", "bag": "size of the bag, frames", "keys": "part it reads, frames", "seed": "seed of the dice", "working": "frames before the long memory", "merge": "likeness to merge at",
    "prototypes": "details of the long memory", "pieces": "frames they come from", "summary": "keep a summary of all", "newest": "newest frames it reads", "store": "frames it stores", "weight": "how few it picks",
    "window": "frames it compares with", "gamma": "how great a surprise", "longest": "longest event, frames", "shortest": "shortest event, frames", "lag": "frames it waits", "important": "what counts as useful",
    "power": "how fast it thins out", "span": "frames in a chapter", "inside": "frames kept of a chapter", "chunks": "chapters", "open": "chapters it opens", "stable_frames": "sure frames before it trusts it",
    "stable_iou": "what counts as sure", "motion_weight": "weight of the movement", "width": "answers it follows", "uncertainty": "what counts as unsure", "likeness": "how views are compared", "presence": "keep views with the object only",
}  # fmt: skip
