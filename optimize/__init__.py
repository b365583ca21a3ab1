"""Training set in, compiled program and report out."""

from optimize.budget import Caps
from optimize.compile import Run, compile_program, estimate_compile
from optimize.data import Question, TrainingSet, read_questions, split
from optimize.evaluate import Evaluation, evaluate
from optimize.metrics import Metric, build_metric
from optimize.report import write_report
from optimize.result import CompileResult
from optimize.tracking import track

__all__ = [
    "Caps",
    "CompileResult",
    "Evaluation",
    "Metric",
    "Question",
    "Run",
    "TrainingSet",
    "build_metric",
    "compile_program",
    "estimate_compile",
    "evaluate",
    "read_questions",
    "split",
    "track",
    "write_report",
]
