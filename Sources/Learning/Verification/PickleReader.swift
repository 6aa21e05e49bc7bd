internal import Dataset

/// Reads pickles that consist of lists, tuples, bytes, text, numbers and NumPy arrays, protocols 0 to 5.
///
/// Nothing is executed or imported. Every opcode that is not needed for such data ends the reading with an error that
/// names the opcode and its offset, and so does every name but those of `PickleGlobal`. Work and memory are bounded by the
/// file: each opcode adds at most one value and values refer to the file's bytes.
struct PickleReader {
    /// The most opcodes that are read.
    static let maximumOpcodes = 20_000_000

    let bytes: [UInt8]
    private var position = 0
    private var opcodeStart = 0
    private(set) var values: [PickleValue] = []
    private var stack: [Int32] = []
    private var marks: [Int] = []
    private var memo: [Int: Int32] = [:]
    /// Bytes of `decodedBytes` values: at most the file's length, or a text decoded again and again would fill the memory.
    var decodedByteCount = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    subscript(number: Int32) -> PickleValue { values[Int(number)] }

    /// Reads to the STOP opcode.
    ///
    /// - Returns: the number of the root value.
    /// - Throws: `DatasetError` (`malformedFile`) with the opcode and its offset.
    mutating func read() throws(DatasetError) -> Int32 {
        for _ in 0..<Self.maximumOpcodes {
            opcodeStart = position
            guard position < bytes.count else { throw fail("the file ends before the STOP opcode") }
            let opcode = bytes[position]
            position += 1
            if opcode == UInt8(ascii: ".") {
                let root = try pop()
                guard stack.isEmpty else { throw fail("\(stack.count) values are left on the stack") }
                return root
            }
            try execute(opcode)
        }
        throw fail("more than \(Self.maximumOpcodes) opcodes")
    }

    func fail(_ problem: String) -> DatasetError {
        let opcode = opcodeStart < bytes.count ? "opcode 0x" + String(bytes[opcodeStart], radix: 16) : "end"
        return DatasetError(.malformedFile, "pickle, \(opcode) at offset \(opcodeStart): \(problem)")
    }

    private mutating func execute(_ opcode: UInt8) throws(DatasetError) {
        switch opcode {
        case 0x80:  // PROTO
            let version = try take(1)
            guard version <= 5 else { throw fail("protocol \(version); 0 to 5 are read") }
        case 0x95: _ = try take(8)  // FRAME
        case UInt8(ascii: "("): marks.append(stack.count)
        case UInt8(ascii: "0"):  // POP: a mark if that is on top
            if let mark = marks.last, mark == stack.count { marks.removeLast() } else { _ = try pop() }
        case UInt8(ascii: "1"): _ = try popToMark()
        case UInt8(ascii: "2"):
            let top = try pop()
            stack += [top, top]
        case UInt8(ascii: "N"): push(.none)
        case 0x88: push(.bool(true))
        case 0x89: push(.bool(false))
        case UInt8(ascii: "I"), UInt8(ascii: "L"), UInt8(ascii: "F"), UInt8(ascii: "S"), UInt8(ascii: "V"):
            push(try takeTextValue(opcode))
        case UInt8(ascii: "K"): push(.integer(try take(1)))
        case UInt8(ascii: "M"): push(.integer(try take(2)))
        case UInt8(ascii: "J"): push(.integer(Int(Int32(truncatingIfNeeded: try take(4)))))
        case 0x8A: push(.integer(try takeLong()))
        case UInt8(ascii: "G"): push(.float(Double(bitPattern: UInt64(truncatingIfNeeded: try take(8)).byteSwapped)))
        case UInt8(ascii: "C"), UInt8(ascii: "U"): push(.bytes(try takeRange(lengthBytes: 1)))
        case UInt8(ascii: "B"), UInt8(ascii: "T"): push(.bytes(try takeRange(lengthBytes: 4)))
        case 0x8E, 0x96: push(.bytes(try takeRange(lengthBytes: 8)))
        case 0x8C: push(.text(try takeRange(lengthBytes: 1)))
        case UInt8(ascii: "X"): push(.text(try takeRange(lengthBytes: 4)))
        case 0x8D: push(.text(try takeRange(lengthBytes: 8)))
        case UInt8(ascii: "]"): push(.list([]))
        case UInt8(ascii: "}"): push(.dictionary)
        case UInt8(ascii: ")"): push(.tuple([]))
        case 0x85: try pushTuple(1)
        case 0x86: try pushTuple(2)
        case 0x87: try pushTuple(3)
        case UInt8(ascii: "t"): push(.tuple(try popToMark()))
        case UInt8(ascii: "l"): push(.list(try popToMark()))
        case UInt8(ascii: "a"):
            let item = try pop()
            try append([item])
        case UInt8(ascii: "e"): try append(try popToMark())
        case UInt8(ascii: "p"): memo[try takeMemoKey()] = try top()
        case UInt8(ascii: "g"): try recall(try takeMemoKey())
        case UInt8(ascii: "q"): memo[try take(1)] = try top()
        case UInt8(ascii: "r"): memo[try take(4)] = try top()
        case 0x94: memo[memo.count] = try top()
        case UInt8(ascii: "h"): try recall(try take(1))
        case UInt8(ascii: "j"): try recall(try take(4))
        case UInt8(ascii: "c"): try pushGlobal(module: try takeLine(), name: try takeLine())
        case 0x93:
            let name = try text(try pop())
            try pushGlobal(module: try text(try pop()), name: name)
        case UInt8(ascii: "R"):
            let arguments = try pop()
            try reduce(try pop(), arguments)
        case UInt8(ascii: "b"):
            let state = try pop()
            try build(try top(), state)
        default: throw fail("this opcode is not read: it has no place in a list of images")
        }
    }

    private mutating func push(_ value: PickleValue) {
        stack.append(Int32(values.count))
        values.append(value)
    }

    private func top() throws(DatasetError) -> Int32 {
        guard let top = stack.last, stack.count > marks.last ?? 0 else { throw fail("the stack is empty") }
        return top
    }

    private mutating func pop() throws(DatasetError) -> Int32 {
        let value = try top()
        stack.removeLast()
        return value
    }

    private mutating func popToMark() throws(DatasetError) -> [Int32] {
        guard let mark = marks.popLast() else { throw fail("there is no mark on the stack") }
        let items = Array(stack[mark...])
        stack.removeLast(stack.count - mark)
        return items
    }

    private mutating func pushTuple(_ count: Int) throws(DatasetError) {
        guard stack.count - (marks.last ?? 0) >= count else { throw fail("the stack has fewer than \(count) values") }
        let items = Array(stack.suffix(count))
        stack.removeLast(count)
        push(.tuple(items))
    }

    private mutating func append(_ items: [Int32]) throws(DatasetError) {
        let number = Int(try top())
        guard case .list(var list) = values[number] else { throw fail("only a list can be appended to") }
        values[number] = .none  // so that the list is not copied
        list.append(contentsOf: items)
        values[number] = .list(list)
    }

    private mutating func recall(_ key: Int) throws(DatasetError) {
        guard let value = memo[key] else { throw fail("memo \(key) was never stored") }
        stack.append(value)
    }

    private mutating func take(_ count: Int) throws(DatasetError) -> Int {
        guard bytes.count - position >= count else { throw fail("the file ends inside the opcode's argument") }
        var value: UInt64 = 0
        for offset in 0..<count { value |= UInt64(bytes[position + offset]) << UInt64(8 * offset) }
        position += count
        return Int(truncatingIfNeeded: value)
    }

    private mutating func takeLong() throws(DatasetError) -> Int {
        let count = try take(1)
        guard count <= 8 else { throw fail("an integer of \(count) bytes; at most 8 are read") }
        let value = try take(count)
        let unused = 64 - 8 * count
        return count == 0 ? 0 : (value << unused) >> unused
    }

    private mutating func takeRange(lengthBytes: Int) throws(DatasetError) -> Range<Int> {
        let count = try take(lengthBytes)
        guard count >= 0, count <= bytes.count - position else {
            throw fail(
                "it announces \(UInt(bitPattern: count)) bytes but \(bytes.count - position) are left: truncated")
        }
        defer { position += count }
        return position..<position + count
    }

    /// The rest of the line, without its end.
    mutating func takeWholeLine() throws(DatasetError) -> Range<Int> {
        guard let end = bytes[position...].firstIndex(of: 0x0A) else { throw fail("a line has no end: truncated") }
        defer { position = end + 1 }
        return position..<end
    }

    mutating func takeLine() throws(DatasetError) -> String {
        let limit = min(bytes.count, position + 256)
        guard let end = bytes[position..<limit].firstIndex(of: 0x0A) else { throw fail("a name has no end") }
        defer { position = end + 1 }
        return String(decoding: bytes[position..<end], as: UTF8.self)
    }

    private mutating func pushGlobal(module: String, name: String) throws(DatasetError) {
        guard let global = PickleGlobal(module: module, name: name) else {
            throw fail(
                "it refers to \(module.debugDescription).\(name.debugDescription); only NumPy arrays are read, nothing is executed"
            )
        }
        push(.global(global))
    }

    mutating func store(_ value: PickleValue) { push(value) }
    mutating func replace(_ number: Int32, with value: PickleValue) { values[Int(number)] = value }
}
