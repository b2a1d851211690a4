"""A table of JAX functions by the names of the samples that they stand for."""


class Rows(dict):
    def add(self, names, function):
        for name in names:
            assert name not in self
            self[name] = function

    def add_typed(self, name, dtypes, function):
        """The op's own sample and those of further element types."""
        self.add([name] + [f"{name}/{dtype}" for dtype in dtypes], function)
