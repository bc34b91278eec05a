"""What every upstream call costs: held before it is sent, written ahead, noted as it runs, settled once."""
