import ArgumentParser
import Foundation
import ProcessSupport
import Tensors

/// `coordinator center`.
struct Center: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a class center: who owns it, how long it is, its momentum, and when it was trained last.",
        discussion: """
            With AdamW the first moment stands in the place of the momentum. A center and a momentum of almost no length are those of a class that was never trained. The last step is the last \
            committed one that the class took part in, as a class of the batch or as one of the sample. Shards keep that in memory: after a \
            start it is known from the oldest step of the log on, and of a slice that has moved from its arrival on.
            """)
    @Argument(help: "Numbers of classes.") var ids: [Int]
    @OptionGroup var connection: Connection

    /// The JSON that it prints is a list of these.
    private struct Answer: Encodable {
        var id: Int
        var slice: Int
        var owner: String
        var norm: Double
        var momentumNorm: Double
        /// The last committed step that it took part in; missing if it took part in none that the shard knows of.
        var lastStep: Int?
        /// The first step that the shard knows of; missing if it has seen none.
        var knownSince: Int?
    }

    private static func lastStep(_ answer: Answer) -> String {
        if let step = answer.lastStep { return "\(step)" }
        return answer.knownSince.map { $0 == 0 ? "never" : "before \($0)" } ?? "unknown"
    }

    func run() throws {
        let reader = try CenterReader(connection)
        let answers = try ids.map { id in
            guard let place = reader.place(of: id) else { throw connection.noClass(id, of: reader.classCount) }
            let found = try reader.read([Int64(id)], ofSlice: place.slice)
            let steps = found.steps.array(Int64.self).map { Int($0) }
            return Answer(
                id: id, slice: place.slice, owner: place.owner, norm: norms(of: found.rows)[0],
                momentumNorm: norms(of: found.kept)[0], lastStep: steps[0] < 0 ? nil : steps[0],
                knownSince: steps[1] < 0 ? nil : steps[1])
        }
        connection.print(answers) {
            var table = TextTable(["class", "slice", "owner", "norm", "momentum norm", "last step"])
            for answer in answers {
                table.add([
                    "\(answer.id)", "\(answer.slice)", answer.owner, Units.fixed(answer.norm, 4),
                    Units.fixed(answer.momentumNorm, 6), Self.lastStep(answer),
                ])
            }
            return table.render()
        }
    }
}

extension Connection {
    /// Says that there is no such class; the exit code for that.
    func noClass(_ id: Int, of count: Int) -> ExitCode {
        complain("there is no class \(id): classes are 0…\(count - 1)")
        return ExitCode(64)
    }
}
