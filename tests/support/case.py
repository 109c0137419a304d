"""The test case that most end-to-end tests are: one ROOT and one server for all its tests."""

import unittest

from .files import TestFolder
from .raw import RawClient
from .server import Pagewire


class ServedCase(unittest.TestCase):
    """Subclasses fill ROOT in fill(), and name their flags; the server stops after the last test
    and has to end with 0."""

    flags = ()
    admin = "off"

    @classmethod
    def fill(cls, folder):
        pass

    @classmethod
    def setUpClass(cls):
        cls.folder = TestFolder()
        cls.addClassCleanup(cls.folder.close)
        cls.fill(cls.folder)
        cls.server = Pagewire(cls.folder.root, *cls.flags, admin=cls.admin)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def client(self, **options):
        """A connection that the test's end closes."""
        client = RawClient(self.server.address, **options)
        self.addCleanup(client.close)
        return client

    def get(self, target="/", method="GET", fields=(), **others):
        """One request on a connection of its own."""
        with RawClient(self.server.address) as client:
            return client.get(target, method, fields, **others)
