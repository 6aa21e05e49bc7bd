import ArgumentParser
import Foundation
import Monitoring
import NetworkAddress
import ProcessSupport

/// `coordinator health`.
struct Health: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Ask a coordinator, shard server or worker itself, over HTTP, whether it is alive.",
        discussion: """
            Asks for /healthz, or with --ready for /readyz, and prints the answer. Exit codes: 0 if that is yes, 1 if it is no, 69 if \
            nobody answers. Where PARTIALFC_STATE names the state directory of a coordinator that cannot start, it says why. For health \
            checks of containers that have no other program to ask with: there the address is the one that the process is told by \
            PARTIALFC_HTTP.
            """)

    @Argument(
        help: ArgumentHelp(
            """
            Where the process serves HTTP; by default the coordinator's usual address (environment: PARTIALFC_HTTP, where * \
            stands for 127.0.0.1).
            """, valueName: "address:port"))
    var address: String?

    @Flag(help: "Ask whether it can do its work, not only whether its loop turns.")
    var ready = false

    @Option(help: "Seconds to wait for an answer.")
    var timeout = 5.0

    private var binding: String {
        address ?? EnvironmentDefaults.text("PARTIALFC_HTTP") ?? "\(HTTPBinding.coordinatorAddress)"
    }

    func validate() throws {
        guard timeout > 0, timeout < 86_400 else {
            throw ValidationError("--timeout \(timeout) is not a number of seconds")
        }
        do {
            if try HTTPAddress(parsing: binding).port == 0 { throw AddressError(binding, "the port is not named") }
        } catch {
            throw ValidationError("\(error); ADDRESS:PORT is wanted, such as 127.0.0.1:7480, [::1]:7481 or *:7482")
        }
    }

    func run() throws {
        guard case .at(let address) = HTTPBinding(binding) else { return }
        let answer: HTTPProbe.Answer
        do { answer = try HTTPProbe(address, limit: .seconds(timeout)).get(ready ? "/readyz" : "/healthz") } catch {
            FileHandle.standardError.write(Data("coordinator: \(error)\n".utf8))
            if let reason = EnvironmentDefaults.text("PARTIALFC_STATE").map(LastError.init(stateDirectory:))?.text {
                FileHandle.standardError.write(Data("the coordinator could not start: \(reason)\n".utf8))
            }
            throw ExitCode(69)
        }
        // A line, which Docker keeps and `docker inspect` shows.
        print(answer.text.trimmingCharacters(in: .whitespacesAndNewlines).printable)
        guard answer.status == 200 else { throw ExitCode(1) }
    }
}
