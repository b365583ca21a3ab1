"""Training set in, compiled program and report out."""

from optimize.compile import compile_program
from optimize.data import Question, TrainingSet, read_questions, split
from optimize.evaluate import Evaluation, evaluate
from optimize.metrics import Metric, build_metric
from optimize.report import write_report
from optimize.result import CompileResult
from optimize.tracking import track

__all__ = [
    "CompileResult",
    "Evaluation",
    "Metric",
    "Question",
    "TrainingSet",
    "build_metric",
    "compile_program",
    "evaluate",
    "read_questions",
    "split",
    "track",
    "write_report",
]
