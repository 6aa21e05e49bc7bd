import ArgumentParser
import Cluster
import Foundation
import OperatorStatus
import Tensors
import Wire

/// Reads rows of a running cluster from the shards that own them.
///
/// A row is as its shard has it at the moment; those of different shards, or of different calls, may be as of different steps.
final class CenterReader {
    /// A class, by number.
    struct Place {
        var slice: Int
        var owner: String
    }

    private let connection: Connection
    private let security: ClientSecurity
    private var clients: [String: OperatorClient] = [:]
    private var endpoints: [String: String] = [:]
    private(set) var slices: [SliceStatus] = []
    /// All classes, retired ones too.
    private(set) var classCount = 0
    private var retired: SliceSet = []
    private(set) var embeddingSize = 0

    /// - Throws: the exit code of the process if the coordinator does not answer.
    init(_ connection: Connection) throws {
        self.connection = connection
        security = try connection.security().shards
        try look()
    }

    deinit { for client in clients.values { client.close() } }

    /// Asks who owns what.
    private func look() throws {
        let status = try connection.status()
        (classCount, embeddingSize) = (status.classes, status.embeddingSize)
        endpoints = Dictionary(status.shards.map { ($0.name, $0.endpoint) }) { first, _ in first }
        slices = try connection.ask("slices", as: [SliceStatus].self)
        let classes = try connection.ask("classes", ["action": "list"], as: ClassStatus.self)
        retired = SliceSet(classes.retiredClasses.filter { $0.count == 2 && $0[0] < $0[1] }.map { $0[0]..<$0[1] })
        guard !slices.isEmpty else {
            connection.complain("no shard owns a class center yet")
            throw ExitCode(69)
        }
    }

    /// Where a class is, nil if there is none of this number.
    func place(of id: Int) -> Place? {
        slices.first { $0.classes.contains { $0[0] <= id && id < $0[1] } }.map {
            Place(slice: $0.slice, owner: $0.owner)
        }
    }

    /// What a shard says of some classes of one slice.
    struct Rows {
        /// f32 [n, D] each: values, and the first plane that the optimiser keeps.
        var rows: Tensor
        var kept: Tensor
        /// i64 [n, 2]: the last step that the class took part in, and the first that the shard knows of; -1 for none.
        var steps: Tensor
    }

    /// Rows of some classes of one slice. A slice that has moved is looked for at its new owner, within the time that an answer may take.
    ///
    /// - Throws: the exit code of the process if its owner does not answer.
    func read(_ ids: [Int64], ofSlice number: Int) throws -> Rows {
        let end = ContinuousClock.now + .seconds(connection.timeout)
        while true {
            let owner = slices.first { $0.slice == number }?.owner ?? ""
            do { return try read(ids, from: owner, until: end) } catch let error as WireError {
                // Keys that do not allow it do not allow it a little later either.
                guard ContinuousClock.now < end, error.code != .forbidden else {
                    connection.complain("\(owner): \(error)")
                    throw ExitCode(error.code == .forbidden ? 77 : 69)
                }
            }
            clients.removeValue(forKey: owner)?.close()
            Thread.sleep(forTimeInterval: 0.3)
            try look()
        }
    }

    private func read(_ ids: [Int64], from owner: String, until end: ContinuousClock.Instant) throws -> Rows {
        // A little, for the last try.
        var left: Duration { max(end - .now, .milliseconds(300)) }
        let client: OperatorClient
        if let known = clients[owner] {
            client = known
        } else {
            guard let endpoint = endpoints[owner] else { throw WireError(.closed, "nobody knows where \(owner) is") }
            client = try OperatorClient(connect: endpoint, security: security, deadline: left)
            clients[owner] = client
        }
        let answer = try client.request(.readRows(ids: Tensor(ids)), deadline: left)
        guard case .rows(let rows, let kept, let steps) = answer, rows.shape == [ids.count, embeddingSize],
            kept.shape == rows.shape, steps.shape == [ids.count, 2]
        else { throw WireError(.field, "the answer was a \(answer.name) of another shape") }
        return Rows(rows: rows, kept: kept, steps: steps)
    }

    /// Rows that are asked for at a time.
    private static let chunk = 4096

    /// Reads every class that is not retired, some thousand at a time, slice by slice.
    func readAll(_ body: (_ ids: [Int64], _ rows: Tensor) throws -> Void) throws {
        for number in slices.map(\.slice) {
            let ranges = slices.first { $0.slice == number }?.classes ?? []
            for range in ranges {
                for start in stride(from: range[0], to: range[1], by: Self.chunk) {
                    let ids = (start..<min(start + Self.chunk, range[1])).filter { !retired.contains($0) }.map(
                        Int64.init)
                    if ids.isEmpty { continue }
                    try body(ids, try read(ids, ofSlice: number).rows)
                }
            }
        }
    }
}

/// Lengths of rows f32 [n, D].
func norms(of rows: Tensor) -> [Double] {
    let width = rows.shape[1]
    return rows.withPointer(Float.self) { values in
        (0..<rows.shape[0]).map { row in
            values[row * width..<(row + 1) * width].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        }
    }
}
