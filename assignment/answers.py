"""What a student's notebooks hold: own code, the functions asked for, answers in words.

A cell is known by its grade_id or, where a notebook has lost these, by its source. Notebooks are
known by the functions and questions in them, never by their names.
"""

import ast
import re
from types import SimpleNamespace

import nbformat
from tasks import notebook, sections, tasks

EMPTY = "*Your answer here.*"


def definitions(source):
    """The definitions in a cell that is not run as a whole."""
    try:
        nodes = ast.parse(source).body
    except SyntaxError:
        return ""
    kinds = ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef
    return "\n".join(ast.unparse(node) for node in nodes if isinstance(node, kinds))


class Edition:
    """The cells that the students were given, in the folder source."""

    def __init__(self, source):
        self.given, self.ids, self.setups = {}, {}, {}
        for section in sections():
            for cell in nbformat.read(source / notebook(section).name, as_version=4).cells:
                marks, text = cell.metadata["nbgrader"], cell.source.strip()
                name = marks["grade_id"]
                kind = name.partition("-")[0]
                self.given[name] = SimpleNamespace(kind=kind, source=text, locked=marks["locked"])
                self.ids[text] = name
                if kind == "code":
                    self.setups.setdefault(section, []).append(text)
        self.ids.pop(EMPTY)

    def given_for(self, cell):
        """(grade_id, the given cell) of a cell; ("", None) for one that is the student's own."""
        name = cell.grade_id
        if name not in self.given:
            name = self.ids.get(cell.source.strip(), "")
        return name, self.given.get(name)

    def own_code(self, cell):
        """What is run of a student's cell: nothing if it is as it was given, or only shows."""
        _, given = self.given_for(cell)
        if cell.kind != "code" or (given and cell.source.strip() == given.source):
            return ""
        if given and given.kind in ("test", "run", "answer"):
            return definitions(cell.source)
        return cell.source

    def programs(self, book, task):
        """The cells that define a task's function, and whether it is more than a copy in 1.2."""
        form = re.compile(rf"^[ \t]*(?:def[ \t]+{task}\b|{task}[ \t]*=)", re.MULTILINE)
        own, copied = [], []
        for cell in book.cells:
            name, source = self.given_for(cell)[0], self.own_code(cell)
            if source and (name == f"task-{task}" or form.search(source)):
                (copied if name == f"paste-{task}" else own).append(source)
        return own or copied, bool(own)

    def steps(self, book, names):
        """(label, source) of the cells to run before the tasks of these names are called."""
        needed = sorted({tasks()[name].section for name in names})
        steps = [("a given cell", source) for x in needed for source in self.setups.get(x, [])]
        skipped = [f"paste-{name}" for name in names if self.programs(book, name)[1]]
        for number, cell in enumerate((x for x in book.cells if x.kind == "code"), 1):
            name, given = self.given_for(cell)
            is_setup = given and given.kind == "code"  # where all sections are, A changes here
            source = cell.source if is_setup else self.own_code(cell)
            if source and name not in skipped:
                steps.append((f"{book.name}, code cell {number}", source))
        return steps

    def answers(self, book, questions):
        """{question: what stands from it to the next given cell}, and a list of what else is."""
        answers, elsewhere, current = {name: [] for name in questions}, [], None
        for cell in book.cells:
            name, given = self.given_for(cell)
            source = cell.source.strip()
            for question in questions if not given else []:  # answered in a cell without a name
                if source.startswith(self.given[f"asks-{question}"].source):
                    name, given = f"asks-{question}", self.given[f"asks-{question}"]
            kind, _, about = name.partition("-")
            if kind in ("asks", "answer"):
                current = about
            own = source.replace(EMPTY, "").strip()
            if given and given.locked:
                lines = given.source.splitlines() if cell.kind != "code" else source.splitlines()
                own = "\n".join(x for x in source.splitlines() if x not in lines).strip()
            elif kind in ("task", "paste") or (cell.kind == "code" and current is None):
                own = ""
            if own:
                answers.get(current, elsewhere).append(own)
            if given and kind not in ("asks", "answer"):
                current = None
        return {name: "\n\n".join(parts) for name, parts in answers.items()}, elsewhere


def choose(student, edition, questions):
    """{task: the notebook that counts or None}, {question: answer}, notes on older notebooks."""
    chosen, notes = {}, []
    books = sorted(student.notebooks, key=lambda book: (book.newness, book.name))
    for task in tasks():
        programs = {book.name: edition.programs(book, task) for book in books}
        candidates = [book for book in books if programs[book.name][1]]
        copies = [book for book in books if programs[book.name][0]]
        chosen[task] = next(reversed(candidates or copies), None)
        for book in candidates[:-1]:
            notes.append(f"{book.name} has {task} too; {chosen[task].name}, newer, counts.")
    read = [edition.answers(book, questions) for book in books]
    elsewhere = [text for _, texts in read for text in texts]
    elsewhere += [student.online_text] if student.online_text else []
    words = {}
    for name in questions:
        answers = [answers[name] for answers, _ in read if answers[name]]
        words[name] = answers[-1] if answers else "\n\n".join(elsewhere)
    return chosen, words, notes
