"""Checks for the exercises of notebook 07."""

from itertools import combinations

from mnistlib.exercises.check import exercise, mistake

three, four = [[5, 1, 2], [0, 6, 1], [3, 2, 4]], [[9, 3, 2, 0], [0, 8, 0, 0], [2, 0, 7, 1], [0, 1, 1, 6]]


@exercise("right for two and for three classes", ([[8, 2], [1, 9]],), ([[3, 1, 0], [2, 6, 2], [0, 0, 5]],))
@mistake("That is precision: divide by the row's sum, not the column's", total=lambda m, i: sum(row[i] for row in m))
@mistake("Divide by the images of the class, not by all images", total=lambda m, i: sum(map(sum, m)))
def check_recalls(confusion, total=lambda confusion, label: sum(confusion[label])):
    return [row[label] / total(confusion, label) for label, row in enumerate(confusion)]


@exercise("right for three and for four classes", (three,), (four,))
@mistake("Add both directions", both=0)
@mistake("The smaller number comes first", order=-1)
@mistake("The diagonal counts the correct predictions", lambda m: (max(range(len(m)), key=lambda i: m[i][i]),) * 2)
def check_most_confused(confusion, both=1, order=1):
    pairs = combinations(range(len(confusion)), 2)
    return max(pairs, key=lambda pair: confusion[pair[0]][pair[1]] + both * confusion[pair[1]][pair[0]])[::order]


@exercise("right for three lists of writers", ([7, 7, 3, 5], {7}), ([1, 2, 3, 2, 1], {2, 9}), ([4, 4], {5}))
@mistake("The places to train on come first", sides=(True, False))
@mistake("Return the places of the digits, not their writers", give=lambda place, writer: writer)
def check_writer_split(writers, kept, sides=(False, True), give=lambda place, writer: place):
    return tuple([give(*digit) for digit in enumerate(writers) if (digit[1] in kept) == side] for side in sides)
