import Foundation
import ProcessSupport

/// What commands say to people.
///
/// Names of files, layers and persons come from others: what a terminal would obey in them is written out.
enum Shown {
    /// Lines on standard output.
    static func result(_ lines: String) {
        print(lines.split(separator: "\n", omittingEmptySubsequences: false).map(\.printable).joined(separator: "\n"))
    }

    /// A line on standard error.
    static func note(_ text: String) { FileHandle.standardError.write(Data("\(text.printable)\n".utf8)) }

    /// Why a command ends without having done its work.
    static func failure(_ command: String, _ error: any Error) { note("worker \(command): \(error)") }
}
