internal import CKernels
internal import Cluster
import Determinism
import Foundation
internal import ParameterStore
import StepProtocol
import Tensors
import Wire

/// The server of `experiments serving`: a table of rows that is read and written through a real endpoint.
///
/// Request `forward` brings ids and is answered with the rows; `backward` brings ids and rows, which are stored.
struct ServingShard {
    /// What both processes agree about.
    struct Shape: Sendable {
        /// Rows of the table.
        var tableRows: Int
        /// Numbers per row.
        var size: Int
        var dtype: DType

        var rowByteCount: Int { size * dtype.size }
    }

    let shape: Shape
    private let parallel: ParallelBlocks
    private let table: HugeBuffer
    private let pool = TensorPool()

    init(shape: Shape, threads: Int) throws {
        self.shape = shape
        parallel = ParallelBlocks(threads: threads)
        table = try HugeBuffer(byteCount: shape.tableRows * shape.rowByteCount)
        // Pages that were never written would all be the same one.
        table.base.initializeMemory(as: UInt8.self, repeating: 1, count: shape.tableRows * shape.rowByteCount)
    }

    /// Listens, says where in a line on standard output, and serves until standard input ends.
    func run(_ security: ServerSecurity) throws {
        let mailbox = Mailbox<ServerEvent>(byteCapacity: 1 << 30)
        let server = try ServerEndpoint(bind: "tcp://127.0.0.1:*", security: security, events: mailbox.sink { $0 })
        defer { server.close() }
        Experiments.say(server.endpoint)
        // After what is said: flushing waits for the lock of standard input, which a reader holds.
        let thread = Foundation.Thread {
            while readLine() != nil {}
            mailbox.close()
        }
        thread.start()
        while !mailbox.isClosed {
            guard case .received(let peer, let request, let message) = mailbox.next(within: .seconds(1)) else {
                continue
            }
            switch message {
            case .hello:
                server.welcome(peer, request: request, Welcome(clusterID: "serving", member: MemberID(.worker, 1)))
            case .stepRequest(let step, _):
                guard let reply = answer(step) else {
                    server.refuse(peer, request: request, Refusal(.malformed, "not the tensors of this experiment"))
                    continue
                }
                server.send(reply, to: peer, request: request)
            default: server.refuse(peer, request: request, Refusal(.unknownRequest, "not part of this experiment"))
            }
        }
    }

    private func answer(_ step: StepRequest<[Tensor]>) -> WireMessage? {
        guard let ids = step.payload.first, ids.dtype == .i64, ids.shape.count == 1 else { return nil }
        let allowed = Int64(0)..<Int64(shape.tableRows)
        guard ids.array(Int64.self).allSatisfy(allowed.contains) else { return nil }
        var rows: [Tensor] = []
        if step.phase == .forward {
            guard let storage = pool.storage(byteCount: ids.count * shape.rowByteCount) else { return nil }
            rows = [Tensor(dtype: shape.dtype, shape: [ids.count, shape.size], storage: storage)]
            copy(ids, rows[0], isPull: true)
        } else {
            guard step.payload.count == 2, step.payload[1].shape == [ids.count, shape.size],
                step.payload[1].dtype == shape.dtype
            else { return nil }
            copy(ids, step.payload[1], isPull: false)
        }
        return .stepReply(StepReply(id: step.id, rank: 0, phase: step.phase, outcome: .done(rows)))
    }

    /// Gathers the rows from the table, or scatters them into it.
    private func copy(_ ids: Tensor, _ rows: Tensor, isPull: Bool) {
        let block = 512
        let (size, table) = (shape.rowByteCount, table)
        parallel.forEach((ids.count + block - 1) / block) { number, _ in
            let first = number * block
            let count = min(block, ids.count - first)
            let from = ids.buffer(Int64.self).baseAddress! + first
            let part = rows.rawPointer + first * size
            if isPull {
                pfc_rows_gather(table.base, from, count, size, part)
            } else {
                pfc_rows_scatter(part, from, count, size, table.base)
            }
        }
        withExtendedLifetime((ids, rows)) {}
    }
}
