"""The clients from npm. They are installed for one run, into a folder of their own, or taken from one that is there."""
import atexit
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from library import PROGRAMS, Client, version_of

SOURCES = PROGRAMS / "npm"
INSTALLING = 300  # seconds, at most

# What client.mjs calls each, and the package whose version is told.
PACKAGES = {
    "openai": ("openai", "openai"),
    "anthropic": ("anthropic", "@anthropic-ai/sdk"),
    "groq": ("groq", "groq-sdk"),
    "cohere": ("cohere", "cohere-ai"),
    "mistral": ("mistral", "@mistralai/mistralai"),
    "mistral with retries": ("mistral_retries", "@mistralai/mistralai"),
    "huggingface": ("huggingface", "@huggingface/inference"),
    "replicate": ("replicate", "replicate"),
    "vercel ai": ("vercel", "ai"),
    "langchain": ("langchain", "@langchain/openai"),
    "langchain that reads": ("langchain_reads", "@langchain/openai"),
    "ollama": ("ollama", "ollama"),
    "genai": ("genai", "@google/genai"),
    "axios of npm": ("axios", "axios"),
    "axios-retry": ("axios_retry", "axios-retry"),
    "got of npm": ("got", "got"),
    "ky": ("ky", "ky"),
    "undici RetryAgent": ("undici_retry", "undici"),
    "undici RetryAgent that passes on": ("undici_retry_passes_on", "undici"),
    "p-retry as copied": ("p_retry", "p-retry"),
    "p-retry that reads": ("p_retry_reads", "p-retry"),
}

# SDKs of model services, which show their user a message of what they are answered: ours, but for these with this
# refusal_body. Each shows it with one of them.
SDKS = ("openai", "anthropic", "groq", "cohere", "mistral", "mistral with retries", "huggingface", "replicate", "vercel ai",
        "langchain", "langchain that reads", "ollama", "genai")
HIDES = {"problem": {"openai", "vercel ai", "langchain", "langchain that reads"}, "openai": {"huggingface", "ollama"},
         "text": {"vercel ai"}}


class CannotInstall(Exception):
    """Why, in a few words."""


def installed(folder):
    """`folder` gets the node_modules that package.json asks for."""
    if not shutil.which("npm"):
        raise CannotInstall("npm is not installed")
    for name in ("package.json", ".npmrc"):
        shutil.copy(SOURCES / name, folder)
    try:
        done = subprocess.run(["npm", "install", "--fetch-retries=0", "--loglevel=error"], cwd=folder, capture_output=True,
                              text=True, timeout=INSTALLING)
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"npm's registry did not give all in {INSTALLING} s")
    if done.returncode != 0:
        code = re.search(r"code (\w+)", done.stderr)
        raise CannotInstall(f"npm's registry did not give them ({code.group(1) if code else done.stderr.strip()[:80]})")


def version_that_runs(node_modules, package, node):
    """The version of a package that is there; raises when this node is too old for it, or it is not there."""
    try:
        told = json.loads((node_modules / package / "package.json").read_text())
    except FileNotFoundError:
        raise CannotInstall(f"{package} is not in {node_modules}")
    least = re.search(r"\d+", told.get("engines", {}).get("node", ""))
    if least and int(least.group()) > int(re.search(r"\d+", node).group()):
        raise CannotInstall(f"{package} {told['version']} needs node {least.group()}; this is {node}")
    return told["version"]


def npm_clients(names, node_modules=None):
    """Those of `names` that can be tried, and {name: why not} of the others."""
    if not shutil.which("node"):
        return [], dict.fromkeys(names, "node is not installed")
    node = version_of("node", "--version")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="classgate-npm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        if node_modules:
            os.symlink(node_modules.resolve(), folder / "node_modules")
        else:
            installed(folder)
    except CannotInstall as why:
        return [], dict.fromkeys(names, str(why))
    for program in SOURCES.glob("*.mjs"):  # which finds the packages beside itself
        shutil.copy(program, folder)
    found, skipped = [], {}
    for name in names:
        library, package = PACKAGES[name]
        try:
            version = version_that_runs((folder / "node_modules").resolve(), package, node)
        except CannotInstall as why:
            skipped[name] = str(why)
            continue
        found.append(Client(name, version, ["node", str(folder / "client.mjs"), library], aborts="abort"))
    return found, skipped
