"""Checks for the exercises of notebook 08."""

from operator import ge, gt

from mnistlib.exercises.check import exercise, mistake

# A record: length, four bytes of checksum, content, four bytes of checksum. Here all but the length is sevens.
sizes = [(3, 300), (954, 0, 70_000), ()]
files = [(b"".join(n.to_bytes(8, "little") + b"\7" * (4 + n + 4) for n in file),) for file in sizes]
six = ([0.9, 0.8, 0.6, 0.4, 0.3, 0.1], [True, True, False, True, False, False])
five = ([0.2, 0.7, 0.9, 0.7, 0.1], [False, True, False, False, True])


@exercise("right for files of two, three and no records", *files)
@mistake(
    "The records need not be equally long: read each length",
    lambda content: [n := int.from_bytes(content[:8], "little")] * (len(content) // (n + 16)),
)
@mistake("A record has 8 + 4 + length + 4 bytes", around=12)
@mistake("Between two contents lie a checksum, a length and another checksum", around=8)
@mistake("The least significant byte comes first: little-endian", order="big")
@mistake("These are whole records; the length is that of the content", added=16)
def check_record_lengths(content, order="little", around=8 + 4 + 4, added=0):
    lengths, start = [], 0
    while start < len(content):
        length = int.from_bytes(content[start : start + 8], order)
        lengths.append(length + added)
        start += length + around
    return lengths


@exercise("right for five costs on two lists", (*six, 10, 1), (*six, 1, 1), (*six, 1, 9), (*five, 1, 1), (*five, 5, 1))
@mistake("Try thresholds out; the formula assumes calibration", lambda p, is_five, miss, alarm: alarm / (alarm + miss))
@mistake("A probability of exactly the threshold is called 5: >=", reaches=gt)
@mistake("Of equally cheap thresholds, return the largest", largest=False)
@mistake("A five that is not called 5 is the miss", swapped=True)
def check_cheapest_threshold(probability, is_five, miss, alarm, reaches=ge, largest=True, swapped=False):
    costs = {True: alarm if swapped else miss, False: miss if swapped else alarm}
    digits = list(zip(probability, is_five, strict=True))
    return min(
        sorted(probability, reverse=largest),
        key=lambda threshold: sum(costs[five] for p, five in digits if reaches(p, threshold) != five),
    )


@exercise("right for two lists, one with equal probabilities", six, five)
@mistake("A pair with equal probabilities counts one half", equal=0)
@mistake("A pair with equal probabilities counts one half, not one", equal=1)
@mistake("The five must have the higher probability", sign=-1)
@mistake("Divide by the number of pairs of a five and another digit", among=len)
def check_area_by_pairs(probability, is_five, equal=0.5, sign=1, among=None):
    sides = {side: [sign * p for p, five in zip(probability, is_five, strict=True) if five == side] for side in (0, 1)}
    won = sum(1 if a > b else equal * (a == b) for a in sides[1] for b in sides[0])
    return won / (among(probability) if among else len(sides[0]) * len(sides[1]))
