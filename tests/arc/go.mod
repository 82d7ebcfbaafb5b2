// What the tests of ARC run beside its controller: the standard library is enough.
module podkey.test/arc

go 1.26
