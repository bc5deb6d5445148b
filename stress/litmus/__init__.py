"""Litmus tests in the herd C format: read from files, and run under weak memory."""

from sugarbush.stress.litmus.check import Answer, check
from sugarbush.stress.litmus.code import build
from sugarbush.stress.litmus.source import BadLitmus, Litmus, read

__all__ = ["Answer", "BadLitmus", "Litmus", "build", "check", "read"]
