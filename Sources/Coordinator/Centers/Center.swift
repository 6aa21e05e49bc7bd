import ArgumentParser
import Foundation
import ProcessSupport

/// `coordinator center`.
struct Center: OperatorCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a class center: who owns it, how long it is, and its momentum.",
        discussion: "A center and a momentum of almost no length are those of a class that was never trained.")
    @Argument(help: "Numbers of classes.") var ids: [Int]
    @OptionGroup var connection: Connection

    /// The JSON that it prints is a list of these.
    private struct Answer: Encodable {
        var id: Int
        var slice: Int
        var owner: String
        var norm: Double
        var momentumNorm: Double
    }

    func run() throws {
        let reader = try CenterReader(connection)
        let answers = try ids.map { id in
            guard let place = reader.place(of: id) else { throw connection.noClass(id, of: reader.classCount) }
            let (rows, momentum) = try reader.read([Int64(id)], ofSlice: place.slice)
            return Answer(
                id: id, slice: place.slice, owner: place.owner, norm: norms(of: rows)[0],
                momentumNorm: norms(of: momentum)[0])
        }
        connection.print(answers) {
            var table = TextTable(["class", "slice", "owner", "norm", "momentum norm"])
            for answer in answers {
                table.add([
                    "\(answer.id)", "\(answer.slice)", answer.owner, Units.fixed(answer.norm, 4),
                    Units.fixed(answer.momentumNorm, 6),
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
