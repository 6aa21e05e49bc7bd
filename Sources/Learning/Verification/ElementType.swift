/// A NumPy element type that is read: bools, integers, and Python objects.
struct ElementType {
    var kind: Character
    /// Bytes per element.
    var size: Int
    var isBigEndian: Bool

    var isBool: Bool { kind == "b" }
    var isObject: Bool { kind == "O" }

    /// A type by NumPy's name, as `<i8` or `b1`; nil for others.
    init?(_ name: String) {
        var rest = name[...]
        isBigEndian = rest.first == ">"
        while let first = rest.first, "<>=|".contains(first) { rest.removeFirst() }
        guard let kind = rest.popFirst(), "biuO".contains(kind) else { return nil }
        self.kind = kind
        guard let size = Int(rest), [1, 2, 4, 8].contains(size), kind != "b" || size == 1 else { return nil }
        self.size = size
    }

    /// The integer that `size` bytes are; nil if they are not so many.
    func integer(_ bytes: ArraySlice<UInt8>) -> Int? {
        guard bytes.count == size, !isObject else { return nil }
        let ordered = isBigEndian ? Array(bytes) : bytes.reversed()
        let value = ordered.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let unused = UInt64(64 - 8 * size)
        let signed = kind == "i" ? Int64(bitPattern: value << unused) >> Int64(unused) : Int64(bitPattern: value)
        return Int(signed)
    }
}
