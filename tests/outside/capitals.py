"""An expansion from outside the package: the names in a question are searched for as well."""

from __future__ import annotations

from ragwright.programs.expand import Expansion, Query


class Capitals(Expansion):
    needs_writer = False

    def __init__(self) -> None:
        super().__init__("multi-query")

    def forward(self, question: str) -> list[Query]:
        names = [word.strip("?.,") for word in question.split()[1:] if word[:1].isupper()]
        return [Query(question), *map(Query, names)]

    async def aforward(self, question: str) -> list[Query]:
        return self.forward(question)
