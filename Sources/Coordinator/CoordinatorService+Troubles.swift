import CoordinatorStore
import ProcessSupport
import StepProtocol
import Wire

/// What members say of their disks becomes events: when it begins, and when it is over.
extension CoordinatorService {
    func noteTroubles(_ beat: Heartbeat) {
        guard let report = beat.report, var notes = members[beat.member] else { return }
        let name = "\(beat.member)"
        // One that says something else with every heartbeat fills no disk; `status` has what it said last.
        func note(_ level: EventLevel, _ text: String) {
            if let rest = notes.troubles.next() { self.note(level, "\(text)\(rest)") }
        }
        if report.obstacle != notes.obstacle {
            let text = report.obstacle.isEmpty ? "goes on: \(notes.obstacle) is over" : "waits: \(report.obstacle)"
            note(report.obstacle.isEmpty ? .info : .error, "\(name) \(text)")
        }
        if report.problem != notes.problem {
            let isOver = report.problem.isEmpty
            note(isOver ? .info : .warning, isOver ? "\(name): over: \(notes.problem)" : "\(name): \(report.problem)")
        }
        if report.incidents > notes.incidents {
            let count = report.incidents - notes.incidents
            note(.warning, "\(name): \(count == 1 ? "" : "\(count) times, the last: ")\(report.lastIncident)")
        }
        if !notes.isTornTailNoted, let bytes = notes.optionalCount("torn_bytes"), bytes > 0 {
            note(.info, "\(name): the last \(bytes) bytes of its log were an unfinished write, and were cut off")
            notes.isTornTailNoted = true
        }
        (notes.obstacle, notes.problem, notes.incidents) = (report.obstacle, report.problem, report.incidents)
        members[beat.member] = notes
    }
}
