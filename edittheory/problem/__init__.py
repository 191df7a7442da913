"""Problems: the exact user-edit problem, its users and coverage, random problems, classes of costs."""

from edittheory.problem.edit_problem import EditDataset, EditProblem, balanced_problem

__all__ = ["EditDataset", "EditProblem", "balanced_problem"]
