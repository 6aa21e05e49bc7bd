@main
enum CoordinatorCommand { static func main() {} }
