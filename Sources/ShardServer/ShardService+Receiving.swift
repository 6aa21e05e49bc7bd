import Cluster
import Foundation
import Logging
import MemberSupport
import Model
import ProcessSupport
import Setup
import ShardModel
import StepProtocol
import Tensors
import Wire

/// Slices on their way to this shard.
extension ShardService {
    func perform(_ action: Receiver.Action) {
        switch action {
        case .ask(let owner, let request): ask(owner, request)
        case .storeChunk(let slice, let index, let count, let step, let payload):
            apply(slice, .chunk(index)) {
                try $0.storeChunk(slice, index: index, count: count, step: step, payload)
            }
        case .replay(let slice, let after, let step, let header, let payload):
            apply(slice, .record(after: after)) { try $0.replay(slice, step: step, header: header, payload) }
        case .drop(let slice):
            let (mailbox, box) = (mailbox, model)
            compute.submit {
                do { try box.model?.drop(slice) } catch {
                    mailbox.post(.broken("the copy of \(slice) cannot be dropped: \(error)"))
                }
            }
        case .complete: break  // the session sees to that
        }
    }

    /// Nothing is asked for again while bytes of answers come in.
    func noteArrivals() {
        for (owner, connection) in shards {
            let parts = connection.counters.parts
            if arrived.updateValue(parts, forKey: owner) ?? 0 != parts { tell(.moving(owner)) }
        }
    }

    private func apply(
        _ slice: SliceName, _ part: TransferRequest.Part, _ body: @escaping @Sendable (ShardEngine) throws -> Void
    ) {
        submit(
            body, then: .received(.stored(slice, part)),
            orElse: { .received(.failed(slice, message: "\($0)")) })
    }

    /// Lets the model do something with a copy, and then says that it is done, or why it is not.
    func submit(
        _ body: @escaping @Sendable (ShardEngine) throws -> Void, then done: Event,
        orElse failed: @escaping @Sendable (any Error) -> Event
    ) {
        let (mailbox, box) = (mailbox, model)
        compute.submit {
            guard let model = box.model else { return }
            do {
                try body(model)
                mailbox.post(done)
            } catch { mailbox.post(failed(error)) }
        }
    }

    // MARK: Connections

    func ask(_ owner: MemberID, _ request: TransferRequest) {
        guard let endpoint = machine?.plan?.shards.first(where: { $0.shard == owner })?.endpoint else { return }
        if let known = shards[owner], known.endpoint != endpoint { close(owner) }
        if shards[owner] == nil { connect(owner, endpoint) }
        guard let connection = shards[owner] else { return }
        // A question that was not answered is asked again, for ever if need be: one of each kind is remembered.
        let isSame = { (other: TransferRequest) in other.slice == request.slice && other.part == request.part }
        asked[owner] = asked[owner]?.filter { !isSame($0.value) }
        unsent[owner]?.removeAll(where: isSame)
        switch connection.send(.transferRequest(request)) {
        case .queued(let number): asked[owner, default: [:]][number] = request
        case .notWelcomed: unsent[owner, default: []].append(request)
        default: break
        }
    }

    private func connect(_ owner: MemberID, _ endpoint: String) {
        guard let welcome, let setup else { return }
        var hello = hello
        hello.record = ""
        hello.embeddingSize = setup.head.embeddingSize
        hello.classCount = setup.head.classCount
        hello.configurationHash = welcome.configurationHash
        hello.previousNumber = welcome.member.number
        do {
            shards[owner] = try ClientConnection(
                connect: endpoint, hello: hello, security: security.shards, thread: io,
                events: mailbox.sink { .shard(owner, $0) })
        } catch { log.error("\(owner) cannot be reached: \(error)") }
    }

    func hear(_ owner: MemberID, _ event: ClientEvent) {
        switch event {
        case .welcomed:
            let waiting = unsent.removeValue(forKey: owner) ?? []
            // Only the newest of each part: older ones were repeated.
            var seen: Set<TransferRequest> = []
            for request in waiting.reversed() where seen.insert(request).inserted { ask(owner, request) }
        case .received(let number, .transferReply(let reply)):
            guard let request = asked[owner]?.removeValue(forKey: number) else { return }
            tell(.reply(to: request, reply))
        case .received(let number, .refused(let refusal)):
            asked[owner]?[number] = nil
            log.warning("\(owner) refused to give a slice: \(refusal.message)")
        case .received, .arriving: break
        case .refused(let refusal): log.error("\(owner) refused this shard: \(refusal.message)")
        case .handshakeFailed(let failure): log.error("\(owner): \(failure.message); trying on")
        case .silent, .standingBy: break
        case .unanswered(let endpoint):
            log.warning("no answer from \(owner) at \(endpoint); trying on")
            tell(.unreachable(owner))
        }
    }

    /// Connections that no copy needs any more.
    func closeUnused() {
        guard !shards.isEmpty, let plan = machine?.plan, let member = session.member else { return }
        let kept = plan.shards.first { $0.shard == member }?.keptNames ?? []
        let owners = plan.shards.filter { !$0.names.isDisjoint(with: kept) }.map(\.shard)
        let needed = Set(plan.moves.filter { $0.to == member }.map(\.from) + owners)
        for owner in shards.keys where !needed.contains(owner) { close(owner) }
    }

    private func close(_ owner: MemberID) {
        shards.removeValue(forKey: owner)?.close()
        asked[owner] = nil
        unsent[owner] = nil
        arrived[owner] = nil
    }
}
