"""The directive `command`: the help of a command, its arguments and options, from the code."""

from typing import Any

import typer
from docutils import nodes
from sphinx.util.docutils import SphinxDirective


class CommandDirective(SphinxDirective):
    """A section for the command of this name, such as `extract` or `index build`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        command, context = found(name)
        section = nodes.section(ids=[nodes.make_id(f"vggfeat {name}")])
        section += nodes.title(text=f"vggfeat {name}")
        usage = "".join(f" {piece}" for piece in command.collect_usage_pieces(context))
        section += nodes.literal_block(text=f"vggfeat {name}{usage}", language="text")
        section += [nodes.paragraph(text=" ".join(part.split())) for part in command.help.split("\n\n")]
        options = nodes.definition_list()
        for parameter in command.params:
            if record := parameter.get_help_record(context):
                options += described(*record)
        section += options
        return [section]


def described(names: str, text: str) -> nodes.definition_list_item:
    """One option: its names, and below them its help."""
    term = nodes.term("", "", nodes.literal(text=names))
    return nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph(text=text)))


def found(name: str) -> tuple[Any, Any]:
    """A command and its context."""
    from vggfeat.cli import app

    command = typer.main.get_command(app)
    context = command.make_context("vggfeat", [], resilient_parsing=True)
    for word in name.split():
        command = command.commands[word]
        context = command.make_context(word, [], parent=context, resilient_parsing=True)
    return command, context


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("command", CommandDirective)
    return {"parallel_read_safe": True}
