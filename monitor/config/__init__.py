"""The configuration: `load_config` reads the YAML file, `Config` is what it says, checked and frozen.

All problems of all files are reported together, each with its file and line. No secret is ever part of a message.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monitor.config.build import build
from monitor.config.file import ConfigFile
from monitor.config.own_detectors import Own
from monitor.config.problems import validate
from monitor.config.tree import Node, Source, from_mapping
from monitor.config.types import (
    ChainConfig,
    ChannelConfig,
    Config,
    HttpConfig,
    Planned,
    PricesConfig,
    Receiver,
    Rule,
    RuleKind,
    StoreConfig,
)
from monitor.config.yaml import read_tree, redacted, sorted_problems
from monitor.errors import ConfigError, Problem

__all__ = [
    "ChainConfig",
    "ChannelConfig",
    "Config",
    "HttpConfig",
    "Planned",
    "PricesConfig",
    "Receiver",
    "Rule",
    "RuleKind",
    "StoreConfig",
    "config_from_mapping",
    "json_schema",
    "load_config",
]


def load_config(
    path: Path | str,
    environ: Mapping[str, str] | None = None,
    *,
    detectors: Collection[str] = (),
    own: Sequence[Own] = (),
) -> Config:
    """Read a configuration file and everything that it names.

    Parameters
    ----------
    path : the YAML file
    environ : what ``${NAME}`` reads, the process's environment where it is not given
    detectors : names of further detectors that ``detectors:`` of a wallet may set
    own : further detectors, or paths of files with them, beside those that the file names

    Raises
    ------
    ConfigError : with every problem of all files, sorted by file and line
    """
    path = Path(path)
    problems: list[Problem] = []
    root, values = read_tree(path, os.environ if environ is None else environ, problems)
    try:
        config = _config(root, path, path.absolute().parent, problems, detectors, own)
    except ConfigError as error:
        raise ConfigError(redacted(error.problems, values)) from None
    return replace(config, warnings=tuple(redacted(config.warnings, values)))


def config_from_mapping(
    mapping: Mapping[str, Any],
    base: Path,
    where: str,
    *,
    detectors: Collection[str] = (),
    own: Sequence[Own] = (),
) -> Config:
    """A configuration from plain values of the same shape as the file.

    Nothing is substituted and nothing included; relative paths start at ``base``. ``where`` names the origin in
    messages; ``own`` is as in `load_config`.

    Raises
    ------
    ConfigError : with every problem found
    """
    root = from_mapping(mapping, Source(where, base))
    root.link()
    problems = []
    if "include" in root.value:
        problems.append(root.problem("include works in files only"))
    return _config(root, None, base.absolute(), problems, detectors, own)


def _config(
    root: Node,
    path: Path | None,
    base: Path,
    problems: list[Problem],
    detectors: Collection[str],
    own: Sequence[Own],
) -> Config:
    try:
        file = validate(root, problems)
        config = None if file is None else build(file, root, path, base, problems, detectors, own)
    except RecursionError:
        raise ConfigError(Problem("the configuration is nested too deeply", root.where)) from None
    if problems or config is None:
        raise ConfigError(sorted_problems(problems))
    return config


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the configuration file, every property described."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "heistwatch/config/1",
        **ConfigFile.model_json_schema(),
        "title": "heistwatch configuration",
    }
