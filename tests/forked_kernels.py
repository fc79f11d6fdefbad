"""Kernels forked from one process that has imported what the notebooks use.

A new Python takes 7 s of processor time to import torch, transformers and diffusers, up to half of a whole notebook.
A fork has the modules at once, and nothing of another notebook.  The stored outputs come from kernels that were started
the usual way, by `docs/notebooks.py`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading

from jupyter_client.manager import KernelManager

# What stands for the kernel in the eyes of its manager: it asks for a fork, and lives and dies with it.
STAND_IN = """
import json, os, signal, socket, sys
own = socket.socket(socket.AF_UNIX)
own.connect(sys.argv[1])
own.sendall(json.dumps([sys.argv[2], os.getcwd()]).encode() + b"\\n")
pid = int(own.makefile().readline())
for name in (signal.SIGINT, signal.SIGTERM):
    signal.signal(name, lambda number, frame: os.kill(pid, number))
own.recv(1)
"""


class ForkingManager(KernelManager):
    """A kernel manager whose kernels are forks; `start` it once, and `stop` it at the end."""

    address = ""
    source: subprocess.Popen | None = None

    @classmethod
    def start(cls, folder: str) -> None:
        cls.address = f"{folder}/forks"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(cls.address)
            listener.listen()
            command = [sys.executable, __file__, str(listener.fileno())]
            env = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
            cls.source = subprocess.Popen(command, pass_fds=[listener.fileno()], env=env)

    @classmethod
    def stop(cls) -> None:
        if cls.source:
            cls.source.terminate()
            cls.source.wait()

    def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
        return [sys.executable, "-ISc", STAND_IN, self.address, os.path.realpath(self.connection_file)]


def serve(listener: socket.socket) -> None:
    """Fork a kernel for each connection; either ends when the other does."""
    from ipykernel.kernelapp import IPKernelApp

    import latentlab

    latentlab.load("emoji")  # so that what is imported at the first use is there, too
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    while True:
        connection, _ = listener.accept()
        file, folder = json.loads(connection.makefile().readline())
        pid = os.fork()
        if pid:
            connection.sendall(b"%d\n" % pid)
            connection.close()
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        listener.close()
        threading.Thread(target=end_with, args=[connection], daemon=True).start()
        os.chdir(folder)
        sys.argv, sys.path[0] = ["ipykernel_launcher"], ""
        IPKernelApp.launch_instance(argv=["-f", file])
        os._exit(0)


def end_with(connection: socket.socket) -> None:
    connection.recv(1)
    os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
