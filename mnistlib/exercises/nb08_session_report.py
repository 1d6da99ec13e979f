"""Checks for the exercises of notebook 08."""

from operator import ge, gt

import torch

from mnistlib.exercises.check import exercise, mistake

# A record: length, four bytes of checksum, content, four bytes of checksum. Here all but the length is sevens.
sizes = [(3, 300), (954, 0, 70_000), ()]
files = [(b"".join(n.to_bytes(8, "little") + b"\7" * (4 + n + 4) for n in file),) for file in sizes]
true, said = torch.tensor([5, 5, 5, 5, 3, 3, 3, 8, 8, 8]), torch.tensor([5, 5, 3, 3, 5, 3, 3, 8, 8, 8])
six = ([0.9, 0.8, 0.6, 0.4, 0.3, 0.1], [True, True, False, True, False, False])
five = ([0.9, 0.2, 0.7, 0.7, 0.1], [True, False, False, True, False])


@exercise("right for files of two, three and no records", *files)
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


@exercise("right for three labels", (true, said, 5), (true, said, 3), (true, said, 8))
@mistake("Precision divides by the predictions of the label, recall by its images", order=-1)
def check_precision_and_recall(true, said, label, order=1):
    hits = ((true == label) & (said == label)).sum().item()
    return (hits / (said == label).sum().item(), hits / (true == label).sum().item())[::order]


@exercise("right for four points of two curves", (*six, 0.6), (*six, 1.0), (*five, 0.5), (*five, 0.05))
@mistake("A probability of exactly the threshold is called 5: >=", reaches=gt)
@mistake("The false positives come first: they go to the right", order=-1)
def check_roc_point(probability, is_five, threshold, reaches=ge, order=1):
    called = [five for p, five in zip(probability, is_five, strict=True) if reaches(p, threshold)]
    return tuple(called.count(five) / is_five.count(five) for five in (False, True))[::order]
