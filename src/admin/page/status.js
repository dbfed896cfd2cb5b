// the status page
