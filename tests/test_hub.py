"""The hub's own client against a hub on the loopback: downloads, resumed transfers, and the message of each failure."""

import json
import re
import shlex
import shutil
from pathlib import Path

import loopback
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from latentlab import cli, models
from latentlab.clip import Encoder
from latentlab.errors import UserError
from latentlab.models import hub

PRIOR, DECODER = (source for source in reversed(models.spec("kandinsky22").sources))
WEIGHTS = "prior/diffusion_pytorch_model.safetensors"


@pytest.fixture
def served(published, tmp_path, monkeypatch):
    """A hub with the tiny repositories at the registry's revisions, and an empty cache."""
    sources = [source for row in models.REGISTRY.values() for source in row.sources]
    commits = {s.repo: s.revision if s.revision != "main" else "c" * 40 for s in sources}
    with loopback.Hub({s.repo: (published / s.name, commits[s.repo]) for s in sources}).serving() as served:
        template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", served.url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 4096)
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # between tries
        yield served


@pytest.fixture
def copied(served, published, tmp_path):
    """A repository whose files a test may change: (folder, OWNER/NAME)."""
    folder = shutil.copytree(published / PRIOR.name, tmp_path / "changed")
    served.repositories[PRIOR.repo] = (folder, PRIOR.revision)
    return folder


def files(served):
    """The transferred files in order: (name, Range)."""
    return [
        (path.split("/", 5)[-1], part) for method, path, part in served.log if method == "GET" and "resolve" in path
    ]


def test_only_the_wanted_parts_are_fetched_and_never_a_pickle(served):
    folder = hub.fetch(PRIOR)
    names = {name for name, _ in files(served)}
    assert folder.name == PRIOR.revision and WEIGHTS in names and "model_index.json" in names
    assert all(name.endswith((".json", ".txt", ".safetensors")) for name in names)
    assert {name.split("/")[0] for name in names} - {"model_index.json"} == set(PRIOR.parts)


def test_a_cached_repository_loads_without_a_request(served):
    first = hub.fetch(PRIOR)
    assert hub.cached(PRIOR) and not hub.cached(DECODER)
    served.log.clear()
    assert hub.fetch(PRIOR) == first and served.log == []


def test_a_broken_transfer_resumes_where_it_stopped(served, published):
    whole = (published / PRIOR.name / WEIGHTS).read_bytes()
    served.broken[WEIGHTS] = [len(whole) // 2]
    folder = hub.fetch(PRIOR)
    tries = [part for name, part in files(served) if name == WEIGHTS]
    assert tries[0] is None and len(tries) == 2
    assert 0 < int(tries[1].removeprefix("bytes=").rstrip("-")) <= len(whole) // 2
    assert (folder / WEIGHTS).read_bytes() == whole


def test_a_transfer_that_keeps_breaking_is_refused_and_its_complete_files_are_kept(served):
    served.broken[WEIGHTS] = [100] * 20
    with pytest.raises(
        UserError, match=rf"{PRIOR.repo} can't be fetched \(.*received 100 bytes.*`latentlab fetch kandinsky22`"
    ):
        hub.fetch(PRIOR)
    assert not hub.cached(PRIOR)
    served.broken.clear()
    served.log.clear()
    hub.fetch(PRIOR)
    assert WEIGHTS in dict(files(served)) and "prior/config.json" not in dict(files(served))
    assert hub.cached(PRIOR)


def test_following_the_refusal_repairs_a_truncated_file_of_the_cache(served):
    hub.fetch(DECODER)
    blob = (hub.fetch(PRIOR) / WEIGHTS).resolve()
    blob.write_bytes(blob.read_bytes()[:-1000])
    with pytest.raises(
        UserError, match=r"is not a complete safetensors file \(.*\): delete \S+, then `latentlab fetch kandinsky22`"
    ) as caught:
        models.load("kandinsky22", device="cpu")
    Path(re.search(r"delete (\S+),", str(caught.value))[1]).unlink()
    assert not hub.cached(PRIOR)
    models.fetch("kandinsky22")
    assert models.load("kandinsky22", device="cpu").name == "kandinsky22"


def test_a_gated_repository_is_refused_with_where_to_accept_its_terms(served):
    served.gated.add(PRIOR.repo)
    with pytest.raises(UserError, match=rf"{PRIOR.repo} is gated: accept its terms on .*{PRIOR.repo}.*`hf auth login`"):
        hub.fetch(PRIOR)


def test_a_missing_repository_is_refused_with_the_advice_to_give_a_copy_or_a_mirror(served):
    del served.repositories[PRIOR.repo]
    with pytest.raises(
        UserError, match=rf"{PRIOR.repo} is not on the hub, or not for you: give a local copy.*a mirror"
    ):
        hub.fetch(PRIOR)


def test_a_missing_revision_is_refused_by_name(served):
    served.repositories[PRIOR.repo] = (served.repositories[PRIOR.repo][0], "b" * 40)
    with pytest.raises(UserError, match=rf"{PRIOR.repo} has no revision {PRIOR.revision}"):
        hub.fetch(PRIOR)


def test_a_repository_of_pickles_is_refused_with_the_reason_and_what_to_do(served, copied):
    (copied / WEIGHTS).unlink()
    with pytest.raises(UserError, match=rf"{PRIOR.repo}/prior offers its weights only as pickles.*convert it"):
        models.load("kandinsky22", device="cpu")
    assert not [name for name, _ in files(served) if name.endswith(".bin")]


def test_a_fine_tune_on_the_hub_loads_at_the_commit_that_is_asked_for(served, copied):
    served.repositories["someone/their-prior"] = (copied, "d" * 40)
    lab = models.load(f"someone/their-prior@{'d' * 40}", family="kandinsky22", device="cpu")
    assert lab.name == "kandinsky22" and lab.weights.startswith(f"someone/their-prior@{'d' * 12} ")
    with pytest.raises(UserError, match="someone/their-prior has no revision v2"):
        models.load("someone/their-prior@v2", family="kandinsky22", device="cpu")


def test_a_hub_that_does_not_answer_is_reported_with_the_command_to_retry(served, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        UserError,
        match=rf"{PRIOR.repo} is not cached, and the hub can't be reached.*`latentlab fetch kandinsky22` fetches its",
    ):
        hub.fetch(PRIOR)


@pytest.mark.parametrize("source", [PRIOR, DECODER, models.spec("stable-unclip-l").sources[1]])
def test_the_command_of_a_refusal_fetches_the_repository(served, capsys, monkeypatch, source):
    monkeypatch.setattr("sys.argv", [*shlex.split(hub.command(source)), "--json"])
    cli.main()
    assert str(hub.fetch(source)) in json.loads(capsys.readouterr().out)["folders"]
    assert hub.cached(source)


# open_clip's own names


@pytest.fixture
def registered(served, tmp_path, monkeypatch):
    """A tiny architecture that open_clip knows by name and tag, published on the hub."""
    model = {
        "embed_dim": 16,
        "vision_cfg": {"layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "image_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "ViT-tiny.json").write_text(json.dumps(model))
    (tmp_path / "repository").mkdir()
    state = open_clip.CLIP(**model).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "repository" / "open_clip_model.safetensors")
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIG_PATHS", [tmp_path / "configs"])
    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", {})
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-tiny", {"ours": {"hf_hub": "someone/tiny/"}})
    open_clip.factory._rescan_model_configs()
    served.repositories["someone/tiny"] = (tmp_path / "repository", "e" * 40)
    return state


def test_an_open_clip_name_is_fetched_once_and_gives_an_encoder(served, registered):
    lab = models.load("ViT-tiny:ours", device="cpu")
    assert torch.equal(lab.encoder.model.visual.proj, registered["visual.proj"])
    assert lab.encoder.encode_image(torch.zeros(2, 3, 20, 30)).shape == (2, 16)
    assert [name for name, _ in files(served)] == ["open_clip_model.safetensors"]
    assert lab.weights == f"ViT-tiny:ours@{Encoder('ViT-tiny', 'ours').fingerprint()}"


def test_missing_weights_of_open_clip_are_refused_with_the_command(served, registered):
    del served.repositories["someone/tiny"]
    with pytest.raises(
        UserError, match=r"ViT-tiny:ours is not cached and can't be fetched.*`latentlab fetch ViT-tiny:ours`"
    ):
        models.load("ViT-tiny:ours", device="cpu")
