"""The app as an MCP server, whose tools are its pages."""

from __future__ import annotations

import pytest

pytest.importorskip("gradio")
pytest.importorskip("mcp")
import anyio
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from latentlab.app import map_data, model_cache
from latentlab.app.main import build, launch
from latentlab.app.pages import PAGES


@pytest.fixture(scope="module")
def address(lab):
    """The app on the toy lab, served from this process."""
    model_cache.set_lab(lab)
    map_data.load()
    page = build(lab)
    _, local, _ = launch(page, prevent_thread_lock=True, quiet=True)
    yield f"{local}gradio_api/mcp/"
    page.close()


def test_every_page_is_a_tool_with_described_parameters_and_a_call_gives_pictures_and_numbers(address):
    async def visit():
        async with streamable_http_client(address) as (read, write, _), ClientSession(read, write) as session:
            await session.initialize()
            tools = (await session.list_tools()).tools
            arguments = {"model": "toy", "prompt": "a cat", "count": 2, "steps": 4}
            return tools, await session.call_tool("generate", arguments)

    tools, result = anyio.run(visit)
    assert {tool.name for tool in tools} == {page.key.replace("-", "_") for page in PAGES}
    for tool in tools:
        assert tool.description and all(p.get("description") for p in tool.inputSchema["properties"].values()), tool
    text = " ".join(content.text for content in result.content if content.type == "text")
    assert not result.isError and "image/png" in text and "cosine" in text
