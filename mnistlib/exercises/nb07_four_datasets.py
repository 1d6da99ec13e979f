"""Checks for the exercises of notebook 07."""

from collections import Counter

from mnistlib.exercises.check import exercise, mistake


@exercise("right for three splits", ([7, 7, 3, 5], [0, 2], [1, 3]), ([4, 4, 1, 1], [0], [1, 2, 3]), ([1, 2], [0], [1]))
@mistake("Divide by the number of test digits, not of all digits", among=lambda writers, test: len(writers))
@mistake("Count test digits, not writers: somebody with two test digits counts twice", unique=set)
@mistake("These are the digits that do not leak", known=False)
def check_leaked(writers, train, test, among=lambda writers, test: len(test), unique=list, known=True):
    trained, tested = {writers[index] for index in train}, unique([writers[index] for index in test])
    return sum((writer in trained) == known for writer in tested) / among(writers, tested)


def pooled_z(errors_1, images_1, errors_2, images_2):
    p = (errors_1 + errors_2) / (images_1 + images_2)
    return (errors_2 / images_2 - errors_1 / images_1) / (p * (1 - p) * (1 / images_1 + 1 / images_2)) ** 0.5


@exercise("right for three pairs of test sets", (82, 10_000, 540, 50_000), (70, 10_000, 60, 10_000), (5, 100, 0, 50))
@mistake("That is the pooled version; use the formula of section 5", pooled_z)
@mistake("The second error rate minus the first", order=-1)
@mistake("The variances add; the standard errors do not", power=0.5)
@mistake("Take the square root of the sum of the variances", root=1)
def check_z_of_two_tests(errors_1, images_1, errors_2, images_2, order=1, power=1, root=0.5):
    rates = [(errors_1 / images_1, images_1), (errors_2 / images_2, images_2)]
    error = sum((p * (1 - p) / images) ** power for p, images in rates) ** (root if power == 1 else 1)
    return order * (rates[1][0] - rates[0][0]) / error


many = [9, 9, 2, 2, 2, 8, 8, 4, 4, 4, 4, 1]  # two pairs of writers with equally many digits


@exercise("right for three lists of writers", (many, 3), ([7, 7, 3, 5, 5, 5], 2), ([6, 6, 5, 5], 2))
@mistake("The writer with most digits comes first", sign=1)
@mistake("Writers with equally many digits come in the order of their numbers", tie=-1)
@mistake("Count the digits of each part, not its writers", size=lambda count: 1)
def check_folds_by_writer(writers, folds, sign=-1, tie=1, size=lambda count: count):
    counts, sizes, part = Counter(writers), [0] * folds, {}
    for writer in sorted(counts, key=lambda writer: (sign * counts[writer], tie * writer)):
        part[writer] = sizes.index(min(sizes))
        sizes[part[writer]] += size(counts[writer])
    return [part[writer] for writer in writers]
