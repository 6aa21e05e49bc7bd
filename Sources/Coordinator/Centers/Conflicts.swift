import ArgumentParser
import Foundation
import ProcessSupport
import Tensors

/// `coordinator conflicts`.
struct Conflicts: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "List the pairs of classes whose centers are closer than they should be, as they are found.",
        discussion: """
            Reads every center into memory (4·D bytes each) and compares each with each: C²·D operations, which takes seconds for \
            ten thousand classes, minutes for a hundred thousand, and an hour or more for a million. With --json every pair is a line.
            """)
    @Option(help: "The cosine from which on a pair is listed.") var threshold = 0.5
    @Option(help: "End after so many pairs; 0: when all are found.") var limit = 0
    @OptionGroup var connection: Connection

    /// A line of the JSON that it prints.
    private struct Pair: Encodable {
        var a: Int
        var b: Int
        var cosine: Double
    }

    func validate() throws {
        guard threshold > -1, threshold <= 1 else { throw ValidationError("--threshold \(threshold) is not a cosine") }
        guard limit >= 0 else { throw ValidationError("--limit \(limit) is below 0") }
    }

    func run() throws {
        let reader = try CenterReader(connection)
        let (count, width) = (reader.classCount, reader.embeddingSize)
        let bytes = 4 * count * width
        guard bytes < ProcessMemory.availableBytes * 9 / 10 else {
            connection.complain(
                "\(count) centers take \(Units.bytes(bytes)) of memory, and \(Units.bytes(ProcessMemory.availableBytes)) are free"
            )
            throw ExitCode(69)
        }
        let directions = Tensor(uninitialized: Float.self, shape: [count, width])
        var ids: [Int] = []
        try reader.readAll { chunk, rows in
            let values = rows.array(Float.self)
            for (index, norm) in norms(of: rows).enumerated() where norm > 0 && ids.count < count {
                let target = directions.mutable(Float.self)
                for d in 0..<width { target[ids.count * width + d] = values[index * width + d] / Float(norm) }
                ids.append(Int(chunk[index]))
            }
        }
        try directions.withPointer(Float.self) { try compare($0, ids, width) }
    }

    /// Rows of a block: the products of two blocks stay in the second cache.
    private static let block = 512

    private func compare(_ directions: UnsafeBufferPointer<Float>, _ ids: [Int], _ width: Int) throws {
        guard let base = directions.baseAddress else { return }
        let blocks = stride(from: 0, to: ids.count, by: Self.block).map { $0..<min($0 + Self.block, ids.count) }
        var products = [Float](repeating: 0, count: Self.block * Self.block)
        var found = 0
        for (index, a) in blocks.enumerated() {
            for b in blocks[index...] {
                products.withUnsafeMutableBufferPointer { buffer in
                    guard let out = buffer.baseAddress else { return }
                    CenterProducts.of(
                        base + a.lowerBound * width, a.count, base + b.lowerBound * width, b.count, width: width,
                        into: out)
                }
                for i in 0..<a.count {
                    for j in 0..<b.count where products[i * b.count + j] >= Float(threshold) {
                        let (first, second) = (ids[a.lowerBound + i], ids[b.lowerBound + j])
                        // Within a block every pair is there twice, and each class with itself.
                        if a == b && i >= j { continue }
                        say(
                            Pair(
                                a: min(first, second), b: max(first, second),
                                cosine: Double(products[i * b.count + j])))
                        found += 1
                        if found == limit { return }
                    }
                }
            }
        }
        if !connection.json { connection.complain("\(found) pairs of \(ids.count) classes") }
    }

    private func say(_ pair: Pair) {
        if connection.json {
            if let line = try? StatusJSON.encode(pair) { print(String(decoding: line, as: UTF8.self)) }
        } else {
            print("\(pair.a)  \(pair.b)  \(Units.fixed(pair.cosine, 4))")
        }
        fflush(nil)
    }
}
