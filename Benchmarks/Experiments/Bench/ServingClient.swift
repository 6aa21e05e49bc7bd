import Cluster
import Determinism
import Foundation
import StepProtocol
import Tensors
import Wire

/// The worker of `experiments serving`: pulls and pushes rows and measures how long that takes.
final class ServingClient {
    /// What was measured, as it is written with `--json`.
    struct Result: Codable {
        var name: String
        /// Bytes of rows that were moved in each repetition.
        var bytes: Int
        /// The median.
        var seconds: Double
        var gigabytesPerSecond: Double
        var rowsPerSecond: Double
    }

    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    private let shape: ServingShard.Shape
    private let rows: Int
    private let mailbox = Mailbox<ClientEvent>(byteCapacity: 1 << 30)
    private let client: ClientConnection
    private let gradient: Tensor
    private var random = KeyedRandom(seed: 1, purpose: .test)

    /// - Parameter rows: rows that each pull and each push moves.
    init(connect endpoint: String, security: ClientSecurity, shape: ServingShard.Shape, rows: Int) throws {
        self.shape = shape
        self.rows = rows
        client = try ClientConnection(
            connect: endpoint, hello: Hello(role: .worker, incarnation: 1), security: security,
            events: mailbox.sink { $0 })
        let storage = TensorStorage(byteCount: rows * shape.rowByteCount)
        storage.base.initializeMemory(as: UInt8.self, repeating: 1, count: storage.byteCount)
        gradient = Tensor(dtype: shape.dtype, shape: [rows, shape.size], storage: storage)
        guard case .welcomed = mailbox.next(within: .seconds(20)) else {
            throw Failure(description: "the server at \(endpoint) did not welcome this process")
        }
    }

    /// The medians of pulls, of pushes, and of a pull and a push one after the other.
    func measure(repetitions: Int) throws -> [Result] {
        var pulls: [Double] = []
        var pushes: [Double] = []
        for repetition in 0..<repetitions + 2 {
            let ids = drawIDs()
            let pull = try time { try self.pull(ids) }
            let push = try time { try self.push(ids) }
            // The first ones make the buffers.
            if repetition < 2 { continue }
            pulls.append(pull)
            pushes.append(push)
        }
        client.close()
        let bytes = rows * shape.rowByteCount
        let both = zip(pulls, pushes).map { $0 + $1 }
        return [
            result("pull", bytes, rows, pulls), result("push", bytes, rows, pushes),
            result("both", 2 * bytes, 2 * rows, both),
        ]
    }

    private func result(_ name: String, _ bytes: Int, _ rows: Int, _ seconds: [Double]) -> Result {
        let median = Experiments.median(seconds)
        return Result(
            name: "\(name) \(shape.dtype)", bytes: bytes, seconds: median,
            gigabytesPerSecond: Double(bytes) / median / 1e9, rowsPerSecond: Double(rows) / median)
    }

    private func time(_ body: () throws -> Void) rethrows -> Double {
        try ContinuousClock().measure { try body() } / .seconds(1)
    }

    /// Different rows of the table, ascending.
    private func drawIDs() -> Tensor {
        var ids: Set<Int64> = []
        while ids.count < rows { ids.insert(Int64(random.below(UInt64(shape.tableRows)))) }
        return Tensor(ids.sorted())
    }

    private func pull(_ ids: Tensor) throws {
        let answer = try ask(.forward, [ids])
        guard answer.map(\.shape) == [[rows, shape.size]] else { throw Failure(description: "not the rows asked for") }
    }

    private func push(_ ids: Tensor) throws {
        guard try ask(.backward, [ids, gradient]).isEmpty else { throw Failure(description: "rows came back") }
    }

    private func ask(_ phase: StepPhase, _ payload: [Tensor]) throws -> [Tensor] {
        let request = StepRequest(
            id: StepID(step: 0, attempt: 0), rank: 0, worldSize: 1, mapVersion: 0, phase: phase, committed: -1,
            exchange: .rows, learningRate: 0.1, microBatches: 0..<1, payload: payload)
        let sent = client.send(.stepRequest(request, incarnation: 1))
        guard case .queued(let number) = sent else { throw Failure(description: "not sent: \(sent)") }
        let deadline = ContinuousClock.now + .seconds(60)
        while let event = mailbox.next(until: deadline) {
            guard case .received(let request, let message) = event, request == number else { continue }
            guard case .stepReply(let reply) = message, case .done(let rows) = reply.outcome else {
                throw Failure(description: "the server answers \(message)")
            }
            return rows
        }
        throw Failure(description: "no answer for 60 seconds")
    }
}
