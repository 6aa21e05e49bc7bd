import ArgumentParser
import MemberSupport

/// A shard server: holds slices of the class centers and of the backbone's parameters, and serves steps.
@main
struct ShardServerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard-server",
        abstract:
            "Hold a part of the class centers and backbone parameters, and serve the steps of a training cluster.",
        discussion: """
            Joins the coordinator, which says what to train and which slices to own. Ends on SIGTERM with exit code 0. \
            Refused by the coordinator: 77. Lost its part of the run: 70.
            """,
        version: "0.1.0")

    @OptionGroup var member: MemberOptions

    @Option(help: "Where to listen for workers: tcp://ADDRESS:PORT; port * lets the system choose.")
    var bind = "tcp://127.0.0.1:*"

    @Option(help: "Host name or address that workers reach this shard at, if it is not the one it binds to.")
    var advertise: String?

    func run() throws {
        try member.run("shard-server") { try ShardService(options: member, bind: bind, advertise: advertise, log: $0) }
    }
}
