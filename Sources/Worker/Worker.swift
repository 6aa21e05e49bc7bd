@main
enum WorkerCommand { static func main() {} }
