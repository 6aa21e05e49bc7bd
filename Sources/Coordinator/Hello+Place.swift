import Wire

extension Hello {
    /// Where a worker runs, for people, and to know workers that end again and again by.
    var place: String { name.isEmpty || name == host ? host : "\(name) at \(host)" }
}
