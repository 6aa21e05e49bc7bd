import Foundation
import Logging
import PartialFC
import ProcessSupport
import RunSetup
import StepProtocol
import Tensors
import Wire

/// The connections to the shards.
extension WorkerService {
    func connect(_ plan: Plan) {
        for shard in plan.shards where shards[shard.shard]?.endpoint != shard.endpoint {
            shards[shard.shard]?.close()
            shards[shard.shard] = nil
            guard let welcome, let setup else { continue }
            var hello = hello
            hello.embeddingSize = setup.head.embeddingSize
            hello.classCount = setup.head.classCount
            hello.configurationHash = welcome.configurationHash
            hello.previousNumber = welcome.member.number
            let member = shard.shard
            do {
                shards[member] = try ClientConnection(
                    connect: shard.endpoint, hello: hello, thread: io, events: mailbox.sink { .shard(member, $0) })
            } catch {
                log.error("\(member) cannot be reached: \(error)")
            }
        }
    }

    /// A shard may not have joined yet when a worker greets it; anything else will not change.
    func retry(_ shard: MemberID, after refusal: Refusal) {
        guard refusal.code == .notWelcomed, let connection = shards[shard] else {
            log.error("\(shard) refused this worker: \(refusal.message)")
            return
        }
        Thread.sleep(forTimeInterval: 0.1)
        connection.greet()
    }
}
