"""What a search for a subject finds first: entries of the index, at the pages that are about it."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

#: Subjects, in the words of somebody who looks for them, and the page of each.
SUBJECTS = {
    "sharpness": "reference/api/solvers.top_eigenpairs",
    "eigenvalues": "reference/api/solvers.top_eigenpairs",
    "resume": "guides/long_runs",
    "checkpoint": "guides/long_runs",
    "MPI": "guides/mpi",
    "mpiexec": "guides/mpi",
    "learning rate schedule": "reference/api/solvers.Schedule",
    "warm-up": "reference/api/solvers.Schedule",
    "Sinkhorn": "reference/api/solvers.transport.w2",
    "Wasserstein": "reference/api/solvers.transport.w2",
    "optimal transport": "reference/api/solvers.transport.w2",
    "delay": "theory/half_step_delay",
    "mean field": "theory/mean_field_limit",
    "exit code": "reference/commands",
    "HDF5": "reference/run_file",
    "observables": "reference/run_file",
    "activation": "reference/models_and_problems",
    "PyTorch": "reference/api/meanfield.TorchObjective",
}


class IndexSubjects(SphinxTransform):
    """The entries of a page, before Sphinx collects them."""

    default_priority = 700

    def apply(self, **kwargs: Any) -> None:
        own = [word for word, page in SUBJECTS.items() if page == self.env.docname]
        section = self.document.next_node(nodes.section)
        if own and section is not None:
            target = section["ids"][0]
            entries = [("single", word, target, "main", None) for word in own]
            section.insert(1, addnodes.index(entries=entries))


def require_pages(_app: Any, env: Any) -> None:
    """Handler of ``env-check-consistency``."""
    missing = set(SUBJECTS.values()) - env.found_docs
    if missing:
        raise ValueError(f"the pages of SUBJECTS must exist, got {sorted(missing)}")


def read_again(_app: Any, env: Any, *_changes: Any) -> list[str]:
    """Handler of ``env-get-outdated``: Sphinx's search forgets the entries of pages that are not written again."""
    return sorted(set(SUBJECTS.values()) & env.found_docs)


def setup(app: Any) -> dict[str, bool]:
    app.add_transform(IndexSubjects)
    app.connect("env-get-outdated", read_again)
    app.connect("env-check-consistency", require_pages)
    return {"parallel_read_safe": True}
