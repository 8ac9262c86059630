"""What applications test with; its public face is `perdure.testing`.

`simulation`: a service and its provider in this process, on trio's clock; `memory`: the connections between them;
`aim`: configurations that lead to a simulated provider; `loopback`: a simulator on a port, for other processes and for
tests without trio; `plugin`: the fixtures. Nothing is imported here, because pytest loads `plugin` in every project.
"""
