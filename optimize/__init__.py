"""The compiler: tunes a program on a training set, and measures the gain on held-out questions."""

from ragwright.optimize.compile import Run, compile_program, estimate_compile
from ragwright.optimize.joint import JointOptimizer
from ragwright.optimize.questions.data import (
    Question,
    TrainingSet,
    read_questions,
)
from ragwright.optimize.questions.splitting import split
from ragwright.optimize.report.mlflow_run import track
from ragwright.optimize.report.writing import write_report
from ragwright.optimize.result import CompileResult
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.scoring.metrics import Metric, build_metric
from ragwright.optimize.spending.budget import Caps

__all__ = [
    "Caps",
    "CompileResult",
    "Evaluation",
    "JointOptimizer",
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
