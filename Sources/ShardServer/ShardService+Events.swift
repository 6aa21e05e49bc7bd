import Cluster
import Logging
import MemberSupport
import ProcessSupport
import Setup
import ShardModel
import StepProtocol
import Tensors
import Wire

/// What happens to a shard server.
extension ShardService {
    /// What the loop waits for.
    enum Event: Sendable {
        case coordinator(ClientEvent)
        case server(ServerEvent)
        /// The connection to another shard.
        case shard(MemberID, ClientEvent)
        /// The state is made, or could not be.
        case ready(Session.Prepared)
        case notReady(Refusal)
        case computed(StepID, ShardResult<[Tensor]>)
        case failed(StepID, ShardTask, Refusal, blaming: [Int])
        case taskDone(number: Int, TaskOutcome)
        case received(Receiver.Event)
        /// A second copy of another shard's slice is a step further, or cannot be made, and why.
        case kept(Session.Keeper.Event, problem: String = "")
        /// Something that was computed for a peer outside the step protocol.
        case answer(StepPeer, Result<WireMessage, Refusal>)
        /// The classes that the session wanted are known to the model.
        case classesKnown
        /// Why the disk keeps the shard waiting, or empty.
        case obstacle(String)
        /// The directory is left empty, or why not.
        case gaveUp(problem: String?)
        /// A coordinator's question is answered, and whether with anything new.
        case voted(isChanged: Bool)
        /// The state cannot be trusted.
        case broken(String)
        case stop(String)
    }

    /// Returns false when the service ends.
    func handle(_ event: Event) -> Bool {
        switch event {
        case .coordinator(.welcomed(let welcome)):
            self.welcome = welcome
            return tell(.welcomed(cluster: welcome.clusterID, welcome.member))
        case .coordinator(.refused(let refusal)): return tell(.turnedAway(refusal.code, message: refusal.message))
        case .coordinator(.unanswered(let endpoint)):
            log.warning("no answer from the coordinator at \(endpoint); trying on")
        case .coordinator(.handshakeFailed(let failure)): log.error("\(failure.message); trying on")
        case .coordinator(.silent(let endpoint)):
            log.warning("the coordinator at \(endpoint) is silent: trying the next one")
        case .coordinator(.standingBy(let endpoint, let standing)): hear(standing, of: endpoint)
        case .voted(let isChanged): tellVote(isChanged)
        case .coordinator(.received(_, let message)): return receive(message)
        case .coordinator(.arriving): break
        case .server(.received(let peer, let request, let message)):
            serve(message, StepPeer(peer: peer, request: request))
        case .server(.dropped(let peer)):
            if let rest = refusals.next() {
                log.warning("a peer does not read what it is sent\(rest)", metadata: ["peer": "\(peer)"])
            }
        case .server(.security(let event)): log.log(level: event.isWarning ? .warning : .info, "\(event)")
        case .server(.trouble(let trouble)): log.log(level: trouble.isWarning ? .warning : .info, "\(trouble)")
        case .shard(let shard, let event): hear(shard, event)
        case .ready(let found):
            noteReady(found)
            return tellWhatIsHeld() && tell(.prepared(found))
        case .notReady(let refusal):
            return tell(
                .notPrepared(problem: "the state cannot be made: \(refusal.message)", isConfiguration: false))
        case .computed(let id, let result):
            return tellWhatIsHeld() && drive(.computed(id, result))
        case .failed(let id, let task, let refusal, let ranks):
            log.error("\(id): \(refusal.message)")
            return drive(.failed(id, task, code: refusal.code, message: refusal.message, blaming: ranks))
        case .taskDone(let number, let outcome):
            if case .failed(let message) = outcome { log.error("task \(number): \(message)") }
            return tellWhatIsHeld() && drive(.taskDone(number: number, outcome))
        case .received(let event):
            if case .failed(let slice, let message) = event {
                log.warning("the copy of \(slice) begins anew: \(message)")
            }
            return tell(.copy(event))
        case .kept(let event, let problem):
            if !problem.isEmpty { log.warning("\(problem)") }
            return tellWhatIsHeld() && tell(.keep(event))
        case .answer(let peer, .success(let message)): server.send(message, to: peer.peer, request: peer.request)
        case .answer(let peer, .failure(let refusal)): server.refuse(peer.peer, request: peer.request, refusal)
        case .classesKnown: return tellWhatIsHeld() && tell(.classesAdopted)
        case .obstacle(let text):
            obstacle = text
            if text.isEmpty { log.info("going on") } else { log.error("\(text); the step waits") }
            beat()
        case .gaveUp(let problem): return tellWhatIsHeld() && tell(.gaveUp(problem: problem))
        case .broken(let reason): return tell(.broken(reason))
        case .stop(let reason):
            return tell(.stop(reason: reason, mayDrain: reason == "SIGTERM" && coordinator.isWelcomed))
        }
        return true
    }

    /// What the coordinator says. Returns false when the service ends.
    private func receive(_ message: WireMessage) -> Bool {
        switch message {
        case .plan(let plan):
            return tellWhatIsHeld() && tell(.plan(plan, misfit: setup?.misfit(of: plan)))
        case .classes(let list):
            classList = list
            return tell(.classes(version: list.version))
        case .heartbeatReply(let reply):
            if let question = reply.question { vote(question) }
            guard let copy = reply.record else { return true }
            let record = record
            compute.submit { record.take(copy) }
            return true
        case .operatorReply(let reply): return tell(.answered(isAccepted: reply.exitCode == 0, text: reply.json))
        case .refused(let refusal):
            if refusal.code != .drained { log.warning("the coordinator refused a message: \(refusal.message)") }
            return tell(.refused(refusal.code))
        default: return true
        }
    }
}
