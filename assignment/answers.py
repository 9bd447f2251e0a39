"""What a student's notebooks hold: own code, the functions asked for, answers in words.

A cell is known by its grade_id or, where a notebook has lost these, by its source. Notebooks are
known by the functions and questions in them, never by their names.
"""

import re
from types import SimpleNamespace

import nbformat
from tasks import notebook, sections, tasks

EMPTY = "*Your answer here.*"
OWN = SimpleNamespace(kind="own", about="", source="", locked=False)  # a cell that was not given


class Edition:
    """The cells that the students were given, in the folder source."""

    def __init__(self, source):
        self.given, self.setups = {}, {}
        for section in sections():
            for cell in nbformat.read(source / notebook(section).name, as_version=4).cells:
                marks, text = cell.metadata["nbgrader"], cell.source.strip()
                kind, _, about = marks["grade_id"].partition("-")
                given = {"kind": kind, "about": about, "source": text, "locked": marks["locked"]}
                self.given[marks["grade_id"]] = SimpleNamespace(**given)
                if kind == "code":
                    self.setups.setdefault(section, []).append(text)
        self.by_source = {given.source: given for given in self.given.values()}
        del self.by_source[EMPTY]

    def recognise(self, book):
        """Give the notebook's cells the given cell that they were, and the code to run of them."""
        for cell in book.cells:
            source = cell.source.strip()
            cell.given = self.given.get(cell.grade_id) or self.by_source.get(source, OWN)
            as_given = source == cell.given.source and cell.given.kind != "code"
            only_shows = cell.given.kind in ("test", "run", "answer") and "def " not in source
            cell.code = "" if cell.kind != "code" or as_given or only_shows else cell.source

    def programs(self, book, task):
        """The cells that define a task's function, and whether it is more than a copy in 1.2."""
        form = re.compile(rf"^[ \t]*(?:def[ \t]+{task}\b|{task}[ \t]*=)", re.MULTILINE)
        own, copied = [], []
        for cell in book.cells:
            is_task = cell.given.kind == "task" and cell.given.about == task
            if cell.code and (is_task or form.search(cell.code)):
                (copied if cell.given.kind == "paste" else own).append(cell.code)
        return own or copied, bool(own)

    def steps(self, book, names):
        """(label, source) of the cells to run before the tasks of these names are called."""
        needed = sorted({tasks()[name].section for name in names})
        steps = [("a given cell", source) for x in needed for source in self.setups.get(x, [])]
        written = [name for name in names if self.programs(book, name)[1]]
        for number, cell in enumerate((cell for cell in book.cells if cell.kind == "code"), 1):
            is_copy = cell.given.kind == "paste" and cell.given.about in written
            if cell.code and not is_copy:
                steps.append((f"{book.name}, code cell {number}", cell.code))
        return steps

    def answers(self, book, questions):
        """{question: what stands from it to the next given cell}, and a list of what else is."""
        answers, elsewhere, current = {name: [] for name in questions}, [], None
        for cell in book.cells:
            source, given = cell.source.strip(), cell.given
            for question in questions if given is OWN else []:  # answered in a cell without a name
                if source.startswith(self.given[f"asks-{question}"].source):
                    given = self.given[f"asks-{question}"]
            if given.kind in ("asks", "answer"):
                current = given.about
            own = source.replace(EMPTY, "").strip()
            if given.locked:
                lines = given.source.splitlines() if cell.kind != "code" else source.splitlines()
                own = "\n".join(x for x in source.splitlines() if x not in lines).strip()
            elif given.kind in ("task", "paste") or (cell.kind == "code" and current is None):
                own = ""
            if own:
                answers.get(current, elsewhere).append(own)
            if given.kind not in ("asks", "answer", "own"):
                current = None
        return {name: "\n\n".join(parts) for name, parts in answers.items()}, elsewhere


def choose(student, edition, questions):
    """{task: the notebook that counts or None}, {question: answer}, notes on older notebooks."""
    chosen, notes = {}, []
    books = sorted(student.notebooks, key=lambda book: (book.newness, book.name))
    for book in books:
        edition.recognise(book)
    for task in tasks():
        written = [book for book in books if edition.programs(book, task)[1]]
        copied = [book for book in books if edition.programs(book, task)[0]]
        chosen[task] = (written or copied or [None])[-1]
        for book in written[:-1]:
            notes.append(f"{book.name} has {task} too; {chosen[task].name}, newer, counts.")
    read = [edition.answers(book, questions) for book in books]
    elsewhere = [text for _, texts in read for text in texts]
    elsewhere += [student.online_text] if student.online_text else []
    words = {}
    for name in questions:
        answers = [answers[name] for answers, _ in read if answers[name]]
        words[name] = answers[-1] if answers else "\n\n".join(elsewhere)
    return chosen, words, notes
