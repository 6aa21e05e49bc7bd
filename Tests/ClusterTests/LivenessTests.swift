import Cluster
import ClusterHarness
import Foundation
import OperatorStatus
import StepProtocol
import Synchronization
import Tensors
import TestSupport
import Testing
import Wire

/// A worker that joins, keeps its lease, and says that steps are done of which no shard has heard.
private final class LyingWorker: Sendable {
    private let connection: ClientConnection
    private let mailbox = Mailbox<ClientEvent>()
    /// Its number, once it has one, and how often it has lied and was answered.
    let member = Mutex<MemberID?>(nil)
    let answers = Mutex(0)

    init(_ endpoint: String) throws {
        let hello = Hello(role: .worker, incarnation: .random(in: 1 ... .max))
        connection = try ClientConnection(connect: endpoint, hello: hello, events: mailbox.sink { $0 })
        Thread { [self] in run(hello.incarnation) }.start()  // until `close`
    }

    private func run(_ incarnation: UInt64) {
        while !mailbox.isClosed {
            switch mailbox.next(within: .milliseconds(200)) {
            case .welcomed(let welcome): member.withLock { $0 = welcome.member }
            case .received(_, .plan(let plan)):
                answers.withLock { $0 += 1 }
                guard let member = member.withLock({ $0 }), plan.activity == .train,
                    let rank = plan.ranks.first(where: { $0.worker == member })
                else { break }
                let result = StepResult(
                    id: plan.id, microBatches: rank.microBatches, lossSums: rank.microBatches.map { _ in 1 },
                    gradientNorm: 1, backboneSeconds: 0, exchangeSeconds: 0, totalSeconds: 0)
                Thread.sleep(forTimeInterval: 0.05)
                connection.send(.stepDone(StepDone(member: member, incarnation: incarnation, result: result)))
            default: break
            }
            guard let member = member.withLock({ $0 }) else { continue }
            connection.send(.heartbeat(Heartbeat(member: member, incarnation: incarnation)))
        }
    }

    func close() {
        mailbox.close()
        connection.close()
    }
}

/// Members that hold the others up, in real processes.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20))) struct LivenessTests {
    @Test func aWorkerThatOnlyTalksCommitsNothingAndIsLeftOut() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory)
            defer { cluster.stop() }
            try cluster.startCoordinator(
                configuration: folderTraining(writeFolderDataset(to: directory), steps: 100_000),
                settings: ["cluster.stuck_seconds=2", "cluster.same_instruction_set=false"])
            try cluster.addShard()
            let liar = try LyingWorker(cluster.endpoint)
            defer { liar.close() }
            try cluster.waitUntil("it has lied and was answered", seconds: 60) { liar.answers.withLock { $0 } > 5 }
            #expect(try cluster.committedStep() == -1, "no shard has prepared anything")
            try cluster.waitUntil("it is said for whom the run waits", seconds: 60) {
                try cluster.status().waitingFor?.contains("has not come to shard-0 with begin") == true
            }
            try cluster.addWorker()
            try cluster.waitUntilCommitted(3)
            let name = try #require(liar.member.withLock { $0 })
            // It is let in again and left out again, longer each time.
            try cluster.waitUntil("it is shown as left out", seconds: 60) {
                let worker = try cluster.status().workers.first { $0.name == "\(name)" }
                let isShown = try cluster.run("status").text.contains("left out  \(name)")
                return worker?.alive == true && worker?.leftOut?.contains("has not come to shard-0") == true && isShown
            }
        }
    }

    @Test func aStrangersRequestsDoNoHarm() throws {
        try withEndlessTraining { cluster, _ in
            let endpoint = try cluster.shardEndpoint(0)
            let mailbox = Mailbox<ClientEvent>()
            let connection = try ClientConnection(
                connect: endpoint, hello: Hello(role: .worker, incarnation: 9), events: mailbox.sink { $0 })
            defer { connection.close() }
            guard case .welcomed? = mailbox.next(within: .seconds(30)) else {
                Issue.record("the stranger was not welcomed")
                return
            }
            let status = try cluster.status()
            // At some moment the step is the next one.
            for step in status.committed + 1..<status.committed + 400 {
                for attempt in [0, 1 << 40] {
                    let request = StepRequest<[Tensor]>(
                        id: StepID(term: status.term, step: step, attempt: attempt), rank: 0,
                        worldSize: 1 + attempt & 1,
                        mapVersion: status.mapVersion, phase: .begin, committed: step - 1, exchange: .features,
                        learningRate: 0.05, microBatches: 0..<4, payload: [Tensor([Int64](repeating: 0, count: 16))])
                    connection.send(.stepRequest(request, incarnation: 9))
                }
            }
            var taken = 0
            while let event = mailbox.next(within: .seconds(1)) {
                if case .received(_, .stepReply(let reply)) = event, case .done = reply.outcome { taken += 1 }
            }
            #expect(taken == 0)
            try cluster.waitUntilCommitted(try cluster.committedStep() + 5)
        }
    }

    @Test func aWorkerThatIsStartedAgainTakesItsOldPlaceAtOnce() throws {
        try withDirectory { directory in
            let cluster = try LocalCluster(directory: directory, environment: ["TMPDIR": directory.path])
            defer { cluster.stop() }
            // Longer than this test may take: nobody's lease runs out.
            try cluster.startCoordinator(
                configuration: folderTraining(writeFolderDataset(to: directory), steps: 100_000, lease: 300))
            try cluster.addShard()
            let first = try cluster.addWorker()
            try cluster.waitUntilCommitted(3)
            first.kill()
            let step = try cluster.committedStep()
            try cluster.addWorker()
            try cluster.waitUntilCommitted(step + 3)
            #expect(cluster.log("coordinator").contains("worker-0 was started again"))
            #expect(try cluster.status().workers.map(\.name) == ["worker-1"])
        }
    }
}
