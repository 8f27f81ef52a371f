"""Certificates for the tests: made by openssl, signed by an authority of a hospital's own."""

import subprocess
from pathlib import Path

from tests.peers import find_tool


class Certificates:
    """An authority, and certificates that it, or another, has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for authority in ("hospital", "stranger"):
            self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}", *self._out(authority))
        for name, authority in (("radnode", "hospital"), ("ct1", "hospital"), ("mr1", "hospital"), ("thief", "stranger")):
            self._sign(name, authority)

    def files(self, name: str) -> tuple[Path, Path]:
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def dcmtk(self, name: str, authority: str = "hospital") -> list[str]:
        certificate, key = self.files(name)
        return ["+tls", str(key), str(certificate), "+cf", str(self.files(authority)[0])]

    def _out(self, name: str) -> list[str]:
        certificate, key = self.files(name)
        return ["-out", str(certificate), "-keyout", str(key)]

    def _sign(self, name: str, authority: str) -> None:
        certificate, key = self.files(name)
        request, extension = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName=DNS:{name}.example,IP:127.0.0.1\n")
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-out", str(request), "-keyout", str(key))
        signer = ["-CA", str(self.files(authority)[0]), "-CAkey", str(self.files(authority)[1]), "-CAcreateserial", "-days", "2"]
        self._run("x509", "-req", "-in", str(request), *signer, "-extfile", str(extension), "-out", str(certificate))

    def _run(self, *arguments: str) -> None:
        subprocess.run([find_tool("openssl"), *arguments], check=True, capture_output=True)
