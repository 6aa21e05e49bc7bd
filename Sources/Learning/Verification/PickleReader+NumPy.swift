internal import Dataset

/// What the names of `PickleGlobal` mean.
extension PickleReader {
    /// The text of a value of at most 256 bytes.
    func text(_ number: Int32) throws(DatasetError) -> String {
        switch self[number] {
        case .text(let range), .bytes(let range):
            guard range.count <= 256 else { throw fail("a name of \(range.count) bytes") }
            return String(decoding: bytes[range], as: UTF8.self)
        case .latinText(let text), .decodedBytes(let text):
            guard text.count <= 256 else { throw fail("a name of \(text.count) bytes") }
            return String(decoding: text, as: UTF8.self)
        default: throw fail("a text was expected")
        }
    }

    /// REDUCE: the value that calling `callable` with `arguments` stands for.
    mutating func reduce(_ callable: Int32, _ arguments: Int32) throws(DatasetError) {
        guard case .global(let global) = self[callable], case .tuple(let arguments) = self[arguments] else {
            throw fail("only the known NumPy names can be called")
        }
        switch global {
        case .reconstruct: store(.emptyArray)
        case .dtype:
            guard let name = arguments.first else { throw fail("a dtype without a name") }
            store(.elementType(try text(name)))
        case .frombuffer:
            guard arguments.count >= 3 else { throw fail("an array without contents, type and shape") }
            store(try array(type: arguments[1], shape: arguments[2], contents: arguments[0]))
        case .scalar:
            guard arguments.count == 2, case .elementType(let type) = self[arguments[0]],
                let contents = contents(arguments[1]), let value = ElementType(type)?.integer(contents)
            else { throw fail("only NumPy scalars that are bools or integers are read") }
            store(ElementType(type)?.isBool == true ? .bool(value != 0) : .integer(value))
        case .encode:
            guard arguments.count == 2 else { throw fail("encode without a text") }
            guard ["latin1", "latin-1"].contains(try text(arguments[1])) else {
                throw fail("only latin1 text is read as bytes")
            }
            store(.decodedBytes(try latin(arguments[0])))
        case .makeBytes:
            switch arguments.first.map({ self[$0] }) {
            case nil: store(.decodedBytes([]))
            case .bytes, .decodedBytes: store(self[arguments[0]])
            default: store(.decodedBytes(try latin(arguments[0])))
            }
        case .ndarray: throw fail("an array is made by _reconstruct or _frombuffer")
        }
    }

    /// The characters of a text as bytes.
    private mutating func latin(_ number: Int32) throws(DatasetError) -> [UInt8] {
        let count: Int
        switch self[number] {
        case .latinText(let text): count = text.count
        case .text(let range): count = range.count
        default: throw fail("encode without a text")
        }
        decodedByteCount += count
        guard decodedByteCount <= bytes.count else { throw fail("the same text is decoded repeatedly") }
        if case .latinText(let text) = self[number] { return text }
        guard case .text(let range) = self[number] else { return [] }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(range.count)
        for scalar in String(decoding: bytes[range], as: UTF8.self).unicodeScalars {
            guard scalar.value < 256 else { throw fail("a character beyond latin1") }
            decoded.append(UInt8(scalar.value))
        }
        return decoded
    }

    /// BUILD: gives an array its contents, and an element type its byte order.
    mutating func build(_ object: Int32, _ state: Int32) throws(DatasetError) {
        switch (self[object], self[state]) {
        case (.elementType(let type), .tuple(let fields)):
            if fields.count > 1, (try? text(fields[1])) == ">", !type.hasPrefix(">") {
                replace(object, with: .elementType(">" + type))
            }
        case (.emptyArray, .tuple(let fields)):
            guard fields.count == 5 else { throw fail("an array state of \(fields.count) fields, expected 5") }
            if case .elementType(let type) = self[fields[2]], ElementType(type)?.isObject == true,
                case .list = self[fields[4]]
            {
                // An array of Python's values is the list of them, which is nobody else's any more: two values with one list would be
                // copies of it as soon as one is appended to.
                replace(object, with: self[fields[4]])
                replace(fields[4], with: .none)
            } else {
                replace(object, with: try array(type: fields[2], shape: fields[1], contents: fields[4]))
            }
        default: throw fail("only a NumPy array or its type can be given a state")
        }
    }

    /// The bytes of a value, if it has any.
    func contents(_ number: Int32) -> ArraySlice<UInt8>? {
        switch self[number] {
        case .bytes(let range): bytes[range]
        case .decodedBytes(let decoded): decoded[...]
        case .array(let type, _, let inner) where type.hasSuffix("u1"):
            // The contents of an array are never an array: `array(type:shape:contents:)` checks it.
            contents(inner)
        default: nil
        }
    }

    private func array(type: Int32, shape: Int32, contents number: Int32) throws(DatasetError) -> PickleValue {
        guard case .elementType(let name) = self[type], let element = ElementType(name), !element.isObject else {
            throw fail("only arrays of integers and bools are read")
        }
        guard case .tuple(let extents) = self[shape], extents.count <= 8 else { throw fail("an array without a shape") }
        var count = 1
        var lengths: [Int] = []
        for extent in extents {
            guard case .integer(let length) = self[extent], length >= 0 else {
                throw fail("a shape that is not made of lengths")
            }
            let (product, overflow) = count.multipliedReportingOverflow(by: length)
            guard !overflow, product <= bytes.count else { throw fail("an impossible shape") }
            count = product
            lengths.append(length)
        }
        if case .array = self[number] { throw fail("an array inside an array") }
        guard let contents = contents(number), contents.count / element.size == count,
            contents.count % element.size == 0
        else {
            throw fail("an array of \(count) elements whose contents are missing or of another length")
        }
        return .array(type: name, shape: lengths, contents: number)
    }
}
