"""salamander-worker driven by hand: what a node does with it, without a node."""
import array
import os
import socket
import struct
import subprocess
import tempfile

import nodes

EXPLICIT = "1.2.840.10008.1.2.1"


class Worker:
    def __init__(self, memory=2 << 30, seconds=60, output=2 << 30, env=None):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = subprocess.Popen([os.path.join(nodes.BUILD, "salamander-worker"), "recode", str(memory),
                                         str(seconds), str(output)], stdin=theirs, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env=env)
        theirs.close()
        self.socket.settimeout(seconds + 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()
        return self.process.wait(20)

    def recode(self, path, syntax=EXPLICIT):
        """(the data set, None), (None, why it failed), or (None, None) where the worker ended."""
        with open(path, "rb") as source, tempfile.TemporaryFile() as out:
            files = array.array("i", [source.fileno(), out.fileno()])
            try:
                self.socket.sendmsg([syntax.encode().ljust(65, b"\0")],
                                    [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files.tobytes())])
                answer = self.socket.recv(4096)
            except (BrokenPipeError, ConnectionResetError):
                answer = b""
            if not answer:
                return None, None
            failed, = struct.unpack_from("<i", answer)
            if failed:
                return None, answer[8:].split(b"\0")[0].decode()
            return out.read() if out.seek(0) == 0 else None, None
