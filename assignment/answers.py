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


def is_definition(node):
    """Whether a statement imports, defines or names something, and does not compute."""
    if isinstance(node, ast.Assign):
        return not any(isinstance(inner, ast.Call) for inner in ast.walk(node))
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def definitions(source):
    """The definitions in a cell that is not run as a whole."""
    try:
        nodes = ast.parse(source).body
    except SyntaxError:
        return ""
    return "\n".join(ast.unparse(node) for node in nodes if is_definition(node))


class Edition:
    """The cells that the students were given, in the folder source."""

    def __init__(self, source):
        self.given, self.ids, self.setups = {}, {}, {}
        for section in sections():
            for cell in nbformat.read(source / notebook(section).name, as_version=4).cells:
                marks, text = cell.metadata["nbgrader"], cell.source.strip()
                name = marks["grade_id"]
                kind = name.partition("-")[0]
                new = SimpleNamespace(kind=kind, source=text, locked=marks["locked"])
                self.given[name] = new
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
        """What is run of a student's cell: nothing if it is as it was given."""
        _, given = self.given_for(cell)
        if cell.kind != "code" or (given and cell.source.strip() == given.source):
            return ""
        if given and given.kind in ("test", "run", "answer"):
            return definitions(cell.source)
        return cell.source

    def programs(self, book, task):
        """The cells that define a task's function; the one copied into 1.2 if there is no other."""
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
        code = [cell for cell in book.cells if cell.kind == "code"]
        for number, cell in enumerate(code, 1):
            name, given = self.given_for(cell)
            source = self.own_code(cell)
            if given and given.kind == "code":  # in a notebook of all sections, A changes here
                source = cell.source
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
        return {name: "\n\n".join(found) for name, found in answers.items()}, elsewhere


def choose(student, edition, questions):
    """{task: the notebook that counts or None}, {question: answer}, notes on older notebooks."""
    chosen, notes = dict.fromkeys(tasks()), []
    books = sorted(student.notebooks, key=lambda book: (book.newness, book.name))
    for task in chosen:
        found = [(book, *edition.programs(book, task)) for book in books]
        for wanted in (False, True):  # what was copied into 1.2 counts if there is nothing else
            candidates = [book for book, programs, own in found if programs and own is wanted]
            chosen[task] = candidates[-1] if candidates else chosen[task]
        notes += [
            f"{book.name} has {task} too; {candidates[-1].name} counts, which is newer or as new."
            for book in candidates[:-1]
        ]
    read = [edition.answers(book, questions) for book in books]
    elsewhere = [text for _, texts in read for text in texts]
    elsewhere += [student.online_text] if student.online_text else []
    words = {}
    for name in questions:
        answers = [answers[name] for answers, _ in read if answers[name]]
        words[name] = answers[-1] if answers else "\n\n".join(elsewhere)
    return chosen, words, notes
